/*
 * fd/vectored: readv, writev, preadv2 and pwritev2 act as one operation on many buffers.
 *
 * Catches: buffers filled in the wrong order, empty ones that end the call, offsets moved by the positional forms.
 */
#include "contract.h"
#include <sys/uio.h>

#ifndef RWF_APPEND
#define RWF_APPEND 0x10
#endif

/* Not every C library has these. The offset is one register on 64-bit machines; the second half is 0. */
static long readv2(int fd, struct iovec *v, int n, off_t at, int flags) { return syscall(SYS_preadv2, fd, v, n, at, 0, flags); }
static long writev2(int fd, struct iovec *v, int n, off_t at, int flags) { return syscall(SYS_pwritev2, fd, v, n, at, 0, flags); }

int main(void)
{
	char a[4] = { 0 }, b[6] = { 0 }, c[20] = { 0 };
	int fd = must(open("file", O_RDWR | O_CREAT, 0600));
	struct iovec w[] = { { "one", 3 }, { "", 0 }, { "two", 3 }, { NULL, 0 }, { "three", 5 } };
	observe("writev: %s", result(writev(fd, w, 5)));
	lseek(fd, 0, SEEK_SET);
	struct iovec r[] = { { a, 3 }, { b, 3 }, { c, 20 } };
	observe("readv: %s: %s %s %s", result(readv(fd, r, 3)), a, b, c);
	observe("no buffers: %s", result(readv(fd, r, 0)));
	memset(c, 0, sizeof c);
	observe("preadv: %s, offset %ld", result(preadv(fd, r, 3, 3)), (long)lseek(fd, 0, SEEK_CUR));
	observe("  %.3s %.3s %s", a, b, c);
	observe("pwritev: %s, size %ld", result(pwritev(fd, w, 1, 20)), (long)lseek(fd, 0, SEEK_END));
	lseek(fd, 1, SEEK_SET);
	observe("preadv2 with -1 uses the offset: %s, then %ld", result(readv2(fd, r, 2, -1, 0)), (long)lseek(fd, 0, SEEK_CUR));
	fails(readv2(fd, r, 2, 0, 0x4000), EOPNOTSUPP);
	observe("pwritev2 RWF_APPEND: %s, size %ld", result(writev2(fd, w, 1, 0, RWF_APPEND)), (long)lseek(fd, 0, SEEK_END));
	int p[2];
	must(pipe(p));
	observe("writev to a pipe: %s", result(writev(p[1], w, 5)));
	observe("one read: %s", result(read(p[0], c, 20)));
	return contract_end();
}
