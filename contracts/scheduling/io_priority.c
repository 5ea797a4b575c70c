/*
 * scheduling/io_priority: ioprio_set and ioprio_get.
 *
 * Catches: classes that do not exist accepted, privilege not asked for, values that are not inherited.
 */
#include "contract.h"

enum { PROCESS = 1, GROUP = 2, SHIFT = 13, REALTIME = 1, BEST = 2, IDLE = 3 };

static long get(int which, int who) { return syscall(SYS_ioprio_get, which, who); }
static long set(int which, int who, int class, int level) { return syscall(SYS_ioprio_set, which, who, class << SHIFT | level); }

int main(void)
{
	must(set(PROCESS, 0, BEST, 6));
	observe("best effort 6: %#lx", get(PROCESS, 0));
	must(set(PROCESS, getpid(), REALTIME, 2));
	observe("real time 2: %#lx", get(PROCESS, getpid()));
	pid_t p = must(fork());
	if (p == 0)
		_exit(get(PROCESS, 0) == (REALTIME << SHIFT | 2) ? 0 : 1);
	observe("inherited: %s", reap(p));
	fails(set(PROCESS, 0, 7, 0), EINVAL);
	fails(set(PROCESS, 0, 0, 3), EINVAL);
	fails(set(9, 0, BEST, 3), EINVAL);
	fails(get(9, 0), EINVAL);
	fails(get(PROCESS, 999999), ESRCH);
	fails(set(PROCESS, 999999, BEST, 3), ESRCH);
	must(set(PROCESS, 0, IDLE, 0));
	observe("idle: class %ld", get(PROCESS, 0) >> SHIFT);
	p = must(fork());
	if (p == 0) {
		must(setuid(1000));
		fails(set(PROCESS, 0, REALTIME, 4), EPERM);
		fails(set(PROCESS, getppid(), BEST, 4), EPERM);
		observe("its own: %s", result(set(PROCESS, 0, BEST, 4)));
		_exit(0);
	}
	observe("unprivileged: %s", reap(p));
	return contract_end();
}
