/*
 * ipc/compare: kcmp: what two processes share.
 *
 * Catches: equal for different objects, different for one, access to strangers.
 */
#include "contract.h"
#include <sched.h>

enum { FILE_, VM, FILES, FS, SIGHAND, IO, SYSVSEM };

static long kcmp(pid_t a, pid_t b, int type, unsigned long i, unsigned long j) { return syscall(SYS_kcmp, a, b, type, i, j); }

/* order answers 0 for the same, 1 for any order: that is another on each machine. */
static int order(long r) { return r < 0 ? -1 : r > 0; }

int main(void)
{
	pid_t me = getpid(), p = must(fork());
	if (p == 0) {
		pause();
		_exit(0);
	}
	int a = must(open("/dev/null", O_RDONLY)), b = must(open("/dev/null", O_RDONLY)), c = must(dup(a));
	if (kcmp(me, me, VM, 0, 0) == -1 && errno == ENOSYS) {
		kill(p, SIGKILL);
		reap(p);
		observe("there is none");
		return contract_end();
	}
	observe("dup: %d, opened twice: %d, inherited: %d", order(kcmp(me, me, FILE_, a, c)), order(kcmp(me, me, FILE_, a, b)), order(kcmp(me, p, FILE_, 1, 1)));
	observe("one order: %d", kcmp(me, me, FILE_, a, b) + kcmp(me, me, FILE_, b, a) == 3);
	observe("memory: %d %d, files %d, fs %d, signals %d", order(kcmp(me, me, VM, 0, 0)), order(kcmp(me, p, VM, 0, 0)), order(kcmp(me, p, FILES, 0, 0)),
		order(kcmp(me, p, FS, 0, 0)), order(kcmp(me, p, SIGHAND, 0, 0)));
	fails(kcmp(me, me, FILE_, a, 99), EBADF);
	fails(kcmp(me, me, 99, 0, 0), EINVAL);
	fails(kcmp(me, 999999, VM, 0, 0), ESRCH);
	pid_t stranger = must(fork());
	if (stranger == 0) {
		must(setuid(1000));
		fails(kcmp(me, p, VM, 0, 0), EPERM);
		_exit(0);
	}
	observe("stranger: %s", reap(stranger));
	kill(p, SIGKILL);
	reap(p);
	return contract_end();
}
