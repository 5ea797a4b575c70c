/*
 * process/vectors_syscalls: a system call leaves every vector register as it was.
 *
 * Catches: a kernel whose own code uses vector registers (memory copies, zeroing) and saves only the
 * general ones at its entry; the upper halves of wide registers lost.
 */
#include "vectors.h"

int main(void)
{
	struct vectors in, out;
	char buffer[8192];
	int p[2];
	must(pipe(p));
	int zero = must(open("/dev/zero", O_RDWR));
	struct timespec nap = { 0, 1000000 };
	struct { const char *name; long nr, a0, a1, a2, a3; } calls[] = {
		{ "getpid", SYS_getpid, 0, 0, 0, 0 },
		/* What one writes, the next reads: 15 * 4000 bytes fit into a pipe. */
		{ "write to a pipe", SYS_write, p[1], (long)buffer, 4000, 0 },
		{ "read from a pipe", SYS_read, p[0], (long)buffer, 4000, 0 },
		{ "read from /dev/zero", SYS_read, zero, (long)buffer, sizeof buffer, 0 },
		{ "nanosleep", SYS_nanosleep, (long)&nap, 0, 0, 0 },
		{ "sched_yield", SYS_sched_yield, 0, 0, 0, 0 },
		{ "uname with a bad pointer", SYS_uname, 16, 0, 0, 0 },
		{ "an unknown call", 100000, 0, 0, 0, 0 },
		{ "openat", SYS_openat, AT_FDCWD, (long)"/nowhere/at/all", O_RDONLY, 0 },
	};

	memset(buffer, 7, sizeof buffer);
	for (unsigned i = 0; i < sizeof calls / sizeof *calls; i++) {
		for (unsigned round = 0; round < 15; round++) {
			vectors_pattern(&in, i * 15 + round);
			memset(&out, 0, sizeof out);
			long r = vectors_syscall(&in, &out, calls[i].nr, calls[i].a0, calls[i].a1, calls[i].a2, calls[i].a3);
			vectors_require(&in, &out, calls[i].name);
			if (round == 0 && calls[i].nr != SYS_getpid)
				observe("%s: %ld", calls[i].name, r);
		}
		observe("%s: all vector registers preserved, 15 times", calls[i].name);
	}
	return contract_end();
}
