/*
 * scheduling/priorities: nice values and policies, read, set, inherited and refused.
 *
 * Catches: nice values that are not kept between -20 and 19, privilege not asked for, policies accepted with wrong parameters.
 */
#include "contract.h"
#include <sched.h>
#include <sys/resource.h>

int main(void)
{
	struct sched_param sp = { 0 };
	observe("nice at start: %s", result(getpriority(PRIO_PROCESS, 0)));
	errno = 0;
	observe("nice(5): %d", nice(5));
	observe("read: %s", result(getpriority(PRIO_PROCESS, 0)));
	must(setpriority(PRIO_PROCESS, 0, 100));
	observe("100 is cut to: %s", result(getpriority(PRIO_PROCESS, 0)));
	must(setpriority(PRIO_PROCESS, 0, 3));
	pid_t p = must(fork());
	if (p == 0)
		_exit(getpriority(PRIO_PROCESS, 0));
	observe("inherited: %s", reap(p));
	p = must(fork());
	if (p == 0) {
		must(setuid(1000));
		fails(setpriority(PRIO_PROCESS, 0, -5), EACCES);
		fails(setpriority(PRIO_PROCESS, getppid(), 10), EPERM);
		observe("lower is allowed: %s", result(setpriority(PRIO_PROCESS, 0, 7)));
		_exit(0);
	}
	observe("unprivileged: %s", reap(p));
	fails(getpriority(9, 0), EINVAL);
	fails(getpriority(PRIO_PROCESS, 999999), ESRCH);
	observe("policy: %s, ranges: %s to %s, fifo %s to %s", result(syscall(SYS_sched_getscheduler, 0)), result(sched_get_priority_min(SCHED_OTHER)), result(sched_get_priority_max(SCHED_OTHER)),
		result(sched_get_priority_min(SCHED_FIFO)), result(sched_get_priority_max(SCHED_FIFO)));
	fails(sched_get_priority_max(77), EINVAL);
	sp.sched_priority = 5;
	fails(syscall(SYS_sched_setscheduler, 0, SCHED_OTHER, &sp), EINVAL);
	sp.sched_priority = 0;
	fails(syscall(SYS_sched_setscheduler, 0, SCHED_FIFO, &sp), EINVAL);
	observe("batch: %s", result(syscall(SYS_sched_setscheduler, 0, SCHED_BATCH, &sp)));
	observe("policy: %s", result(syscall(SYS_sched_getscheduler, 0)));
	observe("yield: %s", result(sched_yield()));
	return contract_end();
}
