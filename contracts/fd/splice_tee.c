/*
 * fd/splice_tee: splice, tee and vmsplice between pipes and files.
 *
 * Catches: data lost or doubled, offsets moved that must not be, tee that consumes, ends of pipes accepted the wrong way round.
 */
#include "contract.h"
#include <sys/uio.h>

static const char *take(int fd)
{
	static char b[4][256];
	static int next;
	char *p = b[next++ & 3];
	ssize_t n = read(fd, p, 255);
	if (n < 0)
		return errno_name(errno);
	p[n] = 0;
	return p;
}

int main(void)
{
	int a[2], b[2];
	must(pipe2(a, O_NONBLOCK)), must(pipe2(b, O_NONBLOCK));
	int f = must(open("f", O_CREAT | O_RDWR, 0600)), g = must(open("g", O_CREAT | O_RDWR, 0600));
	must(write(f, "0123456789abcdef", 16));
	/* File to pipe, with an offset of one's own and with the file's. */
	loff_t off = 3;
	observe("from 3: %s, offset %ld, position %s", result(splice(f, &off, a[1], NULL, 5, 0)), (long)off, result(lseek(f, 0, SEEK_CUR)));
	observe("'%s'", take(a[0]));
	must(lseek(f, 10, SEEK_SET));
	observe("from the position: %s, then %s", result(splice(f, NULL, a[1], NULL, 100, 0)), result(splice(f, NULL, a[1], NULL, 100, 0)));
	/* tee copies and leaves. */
	observe("tee 4: %s", result(tee(a[0], b[1], 4, 0)));
	observe("copy '%s', original '%s'", take(b[0]), take(a[0]));
	/* Pipe to file. */
	must(write(a[1], "to the file", 11));
	off = 2;
	observe("to offset 2: %s, offset %ld", result(splice(a[0], NULL, g, &off, 6, 0)), (long)off);
	observe("the rest at the position: %s", result(splice(a[0], NULL, g, NULL, 100, 0)));
	char text[32] = "";
	ssize_t n = must(pread(g, text, sizeof text, 0));
	observe("file: %zd bytes '%s'", n, text);
	/* Pipe to pipe. */
	must(write(a[1], "pipes", 5));
	observe("pipe to pipe: %s '%s'", result(splice(a[0], NULL, b[1], NULL, 3, 0)), take(b[0]));
	observe("left '%s'", take(a[0]));
	/* User memory. */
	char one[] = "vm", two[] = "splice";
	struct iovec v[2] = { { one, 2 }, { two, 6 } };
	observe("vmsplice: %s '%s'", result(vmsplice(a[1], v, 2, 0)), take(a[0]));
	/* Errors. */
	fails(splice(a[0], NULL, b[1], NULL, 1, 0), EAGAIN);
	fails(tee(a[0], b[1], 1, 0), EAGAIN);
	fails(splice(f, NULL, g, NULL, 1, 0), EINVAL);
	off = 0;
	fails(splice(a[0], &off, b[1], NULL, 1, 0), ESPIPE);
	fails(splice(f, NULL, a[0], NULL, 1, 0), EBADF);
	fails(splice(a[1], NULL, g, NULL, 1, 0), EBADF);
	must(write(a[1], "x", 1));
	fails(splice(a[0], NULL, a[1], NULL, 1, 0), EINVAL);
	fails(tee(a[0], a[1], 1, 0), EINVAL);
	fails(tee(f, b[1], 1, 0), EINVAL);
	fails(splice(a[0], NULL, b[1], NULL, 1, 0x100), EINVAL);
	observe("nothing: %s", result(splice(a[0], NULL, b[1], NULL, 0, 0)));
	int append = must(open("g", O_WRONLY | O_APPEND));
	fails(splice(a[0], NULL, append, NULL, 1, 0), EINVAL);
	observe("untouched: '%s'", take(a[0]));
	/* The ends. */
	close(a[1]);
	observe("writer gone: %s", result(splice(a[0], NULL, b[1], NULL, 1, 0)));
	signal(SIGPIPE, SIG_IGN);
	close(b[0]);
	off = 0;
	fails(splice(f, &off, b[1], NULL, 1, 0), EPIPE);
	return contract_end();
}
