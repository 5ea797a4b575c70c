/*
 * filesystem/sparse_allocate: fallocate in its modes, and files that outgrow limits.
 *
 * Catches: KEEP_SIZE that changes the size, punched ranges that keep their bytes, a file size limit that wraps.
 */
#include "contract.h"

static void bytes(int fd, const char *what, int n)
{
	char b[32] = { 0 }, s[33] = { 0 };
	struct stat st;
	pread(fd, b, n, 0);
	for (int i = 0; i < n; i++)
		s[i] = b[i] ? b[i] : '.';
	fstat(fd, &st);
	observe("%s: %s size %ld", what, s, (long)st.st_size);
}

int main(void)
{
	int fd = must(open("f", O_RDWR | O_CREAT, 0600));
	write(fd, "abcdefgh", 8);
	must(fallocate(fd, 0, 0, 12));
	bytes(fd, "extended", 12);
	must(fallocate(fd, 1, 0, 100000)); /* FALLOC_FL_KEEP_SIZE */
	bytes(fd, "kept size", 12);
	must(fallocate(fd, 3, 2, 3)); /* and FALLOC_FL_PUNCH_HOLE */
	bytes(fd, "punched", 12);
	fails(fallocate(fd, 2, 0, 1), EOPNOTSUPP);
	fails(fallocate(fd, 0, 0, 0), EINVAL);
	fails(fallocate(fd, 0, -1, 5), EINVAL);
	int ro = must(open("f", O_RDONLY));
	fails(fallocate(ro, 0, 0, 10), EBADF);
	int p[2];
	must(pipe(p));
	fails(fallocate(p[1], 0, 0, 10), ESPIPE);
	observe("posix_fallocate: %d", posix_fallocate(fd, 20, 10));
	bytes(fd, "posix", 30);
	fails(fallocate(fd, 0, INT64_MAX - 5, 100), EFBIG);
	fails(pwrite(fd, "x", 1, INT64_MAX), EINVAL);
	must(ftruncate(fd, 5LL << 32));
	must(pwrite(fd, "far", 3, 5LL << 32));
	char b[4] = { 0 };
	pread(fd, b, 3, 5LL << 32);
	observe("beyond 4 GiB: %s, size %lld", b, (long long)lseek(fd, 0, SEEK_END));
	observe("fsync: %s, fdatasync: %s, sync_file_range: %s", result(fsync(fd)), result(fdatasync(fd)), result(sync_file_range(fd, 0, 0, 0)));
	fails(fsync(p[0]), EINVAL);
	observe("posix_fadvise: %d, on a pipe %s", posix_fadvise(fd, 0, 0, POSIX_FADV_WILLNEED), errno_name(posix_fadvise(p[0], 0, 0, POSIX_FADV_NORMAL)));
	return contract_end();
}
