/*
 * fd/close_range: ranges closed or marked, holes included.
 *
 * Catches: descriptors beyond the first hole left open, flags ignored, a table shared with another thread or process torn down.
 */
#include "contract.h"

#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC 4
#endif
#ifndef CLOSE_RANGE_UNSHARE
#define CLOSE_RANGE_UNSHARE 2
#endif

static long range(unsigned a, unsigned b, unsigned flags) { return syscall(SYS_close_range, a, b, flags); }

static void show(const char *what)
{
	char s[32] = { 0 };
	for (int fd = 10; fd < 20; fd++) {
		int f = fcntl(fd, F_GETFD);
		s[fd - 10] = f < 0 ? '.' : f ? 'c' : 'o';
	}
	observe("%s: %s", what, s);
}

int main(void)
{
	for (int fd = 10; fd < 20; fd++)
		if (fd != 13)
			must(dup2(1, fd));
	show("start");
	must(range(14, 15, CLOSE_RANGE_CLOEXEC));
	show("14 to 15 marked");
	must(range(12, 16, 0));
	show("12 to 16 closed");
	fails(range(16, 12, 0), EINVAL);
	fails(range(12, 16, 0x80), EINVAL);
	must(range(18, ~0U, 0));
	show("18 to the end closed");
	pid_t p = must(fork());
	if (p == 0) {
		must(range(10, 17, CLOSE_RANGE_UNSHARE));
		show("child");
		_exit(0);
	}
	reap(p);
	show("parent");
	return contract_end();
}
