/*
 * fd/preadv2_flags: positions and flags of preadv2 and pwritev2, and copy_file_range.
 *
 * Catches: an offset of -1 that is not the file's own, RWF_APPEND that keeps its offset, flags taken that are not known, ranges that overlap.
 */
#include "contract.h"
#include <sys/uio.h>

int main(void)
{
	char a[8] = "", b[8] = "";
	struct iovec v[2] = { { a, 4 }, { b, 4 } };
	int f = must(open("f", O_CREAT | O_RDWR, 0600)), g = must(open("g", O_CREAT | O_RDWR, 0600));
	must(write(f, "0123456789", 10));
	must(lseek(f, 2, SEEK_SET));
	observe("at 5: %s, '%s' '%s', position %s", result(preadv2(f, v, 2, 5, 0)), a, b, result(lseek(f, 0, SEEK_CUR)));
	observe("at the position: %s '%s', position %s", result(preadv2(f, v, 1, -1, 0)), a, result(lseek(f, 0, SEEK_CUR)));
	fails(preadv2(f, v, 1, -2, 0), EINVAL);
	fails(preadv2(f, v, 1, 0, 0x40000000), EOPNOTSUPP);
	fails(preadv2(f, v, -1, 0, 0), EINVAL);
	fails(preadv2(f, v, 2000, 0, 0), EINVAL);
	observe("no entries: %s", result(preadv2(f, v, 0, 0, 0)));
	struct iovec w = { "END", 3 };
	observe("append: %s at %s", result(pwritev2(f, &w, 1, 0, RWF_APPEND)), result(lseek(f, 0, SEEK_END)));
	observe("with syncing: %s", result(pwritev2(f, &w, 1, 0, RWF_DSYNC)));
	char text[32] = "";
	must(pread(f, text, sizeof text - 1, 0));
	observe("'%s'", text);
	int ap = must(open("f", O_WRONLY | O_APPEND));
	observe("O_APPEND ignores the offset: %s, size %s", result(pwrite(ap, "!", 1, 0)), result(lseek(f, 0, SEEK_END)));
	int p[2];
	must(pipe(p));
	fails(preadv2(p[0], v, 1, 0, 0), ESPIPE);
	must(write(p[1], "pipe", 4));
	observe("a pipe without offset: %s", result(preadv2(p[0], v, 1, -1, 0)));
	/* copy_file_range */
	loff_t in = 2, out = 5;
	observe("copy 4: %s, offsets %ld %ld", result(copy_file_range(f, &in, g, &out, 4, 0)), (long)in, (long)out);
	must(lseek(f, 0, SEEK_SET));
	observe("by positions: %s", result(copy_file_range(f, NULL, g, NULL, 3, 0)));
	memset(text, 0, sizeof text);
	ssize_t n = must(pread(g, text, sizeof text, 0));
	for (int i = 0; i < n; i++)
		if (!text[i])
			text[i] = '.';
	observe("'%s'", text);
	in = 100;
	observe("behind the end: %s", result(copy_file_range(f, &in, g, NULL, 5, 0)));
	in = 0, out = 2;
	fails(copy_file_range(f, &in, f, &out, 5, 0), EINVAL);
	out = 5;
	observe("within one file: %s", result(copy_file_range(f, &in, f, &out, 3, 0)));
	fails(copy_file_range(f, NULL, g, NULL, 1, 1), EINVAL);
	fails(copy_file_range(p[0], NULL, g, NULL, 1, 0), EINVAL);
	fails(copy_file_range(f, NULL, ap, NULL, 1, 0), EBADF);
	fails(copy_file_range(ap, NULL, g, NULL, 1, 0), EBADF);
	int dir = must(open(".", O_RDONLY));
	fails(copy_file_range(dir, NULL, g, NULL, 1, 0), EISDIR);
	return contract_end();
}
