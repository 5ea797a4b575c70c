/*
 * fd/offsets: lseek, pread, pwrite, append, truncation and holes.
 *
 * Catches: positional reads that move the offset, append that writes at the offset, holes that are not zero, seeks before the start.
 */
#include "contract.h"

int main(void)
{
	char b[64];
	int fd = must(open("file", O_RDWR | O_CREAT, 0600));
	observe("write: %s, at %ld", result(write(fd, "hello world", 11)), (long)lseek(fd, 0, SEEK_CUR));
	memset(b, 0, sizeof b);
	observe("pread: %s %s, at %ld", result(pread(fd, b, 5, 6)), b, (long)lseek(fd, 0, SEEK_CUR));
	observe("pwrite: %s, at %ld", result(pwrite(fd, "HELL", 4, 0)), (long)lseek(fd, 0, SEEK_CUR));
	observe("read at the end: %s", result(read(fd, b, 10)));
	observe("seek beyond: %ld, read there: %s", (long)lseek(fd, 100, SEEK_SET), result(read(fd, b, 10)));
	observe("write there: %s, size %ld", result(write(fd, "end", 3)), (long)lseek(fd, 0, SEEK_END));
	memset(b, 1, sizeof b);
	int sum = 0;
	pread(fd, b, 50, 20);
	for (int i = 0; i < 50; i++)
		sum += b[i];
	observe("the hole reads: %d", sum);
	require(sum == 0, "holes are zero");
	fails(lseek(fd, -1, SEEK_SET), EINVAL);
	fails(lseek(fd, 0, 77), EINVAL);
	observe("SEEK_CUR backwards: %ld", (long)lseek(fd, -3, SEEK_CUR));
	observe("SEEK_DATA 0: %ld; SEEK_HOLE 0 is at most the size: %d", (long)lseek(fd, 0, SEEK_DATA), lseek(fd, 0, SEEK_HOLE) <= 103);
	fails(lseek(fd, 200, SEEK_DATA), ENXIO);
	fails(pread(fd, b, 1, -1), EINVAL);
	fails(pwrite(fd, b, 1, -1), EINVAL);

	must(ftruncate(fd, 3));
	must(ftruncate(fd, 8));
	memset(b, 1, sizeof b);
	pread(fd, b, 8, 0);
	observe("cut and extended: %.3s %d %d", b, b[3], b[7]);
	require(b[3] == 0 && b[7] == 0, "what was cut does not come back");

	int a = must(open("file", O_WRONLY | O_APPEND));
	lseek(a, 0, SEEK_SET);
	write(a, "tail", 4);
	observe("append: size %ld, offset %ld", (long)lseek(fd, 0, SEEK_END), (long)lseek(a, 0, SEEK_CUR));
	observe("pwrite with append writes at the end: %s, size %ld", result(pwrite(a, "x", 1, 0)), (long)lseek(fd, 0, SEEK_END));
	fails(read(a, b, 1), EBADF);
	int r = must(open("file", O_RDONLY));
	fails(write(r, "x", 1), EBADF);
	fails(ftruncate(r, 1), EINVAL);
	fails(ftruncate(fd, -1), EINVAL);
	must(open("file", O_WRONLY | O_TRUNC));
	observe("O_TRUNC: size %ld", (long)lseek(fd, 0, SEEK_END));
	int p[2];
	must(pipe(p));
	fails(lseek(p[0], 0, SEEK_CUR), ESPIPE);
	fails(pread(p[0], b, 1, 0), ESPIPE);
	return contract_end();
}
