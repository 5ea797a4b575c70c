/*
 * scheduling/policies: real-time policies, their priorities, and who may have them.
 *
 * Catches: priorities out of range accepted, policies for the unprivileged, parameters that are not told back, SCHED_RESET_ON_FORK ignored.
 */
#include "contract.h"
#include <sched.h>
#include <sys/resource.h>

struct attr {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
	uint32_t util_min, util_max;
};

static int policy(void) { return syscall(SYS_sched_getscheduler, 0); }

static int set(pid_t pid, int policy, int priority)
{
	struct sched_param p = { .sched_priority = priority };
	return syscall(SYS_sched_setscheduler, pid, policy, &p);
}

static int priority(void)
{
	struct sched_param p = { .sched_priority = -1 };
	syscall(SYS_sched_getparam, 0, &p);
	return p.sched_priority;
}

int main(void)
{
	struct sched_param p = { .sched_priority = 7 };
	struct timespec t;
	must(set(0, SCHED_FIFO, 10));
	observe("fifo: %d, priority %d", policy() == SCHED_FIFO, priority());
	must(syscall(SYS_sched_rr_get_interval, 0, &t));
	observe("interval: %ld %ld", (long)t.tv_sec, t.tv_nsec);
	must(syscall(SYS_sched_setparam, 0, &p));
	observe("changed: %d", priority());
	must(set(0, SCHED_RR, 99));
	must(syscall(SYS_sched_rr_get_interval, 0, &t));
	observe("rr: %d, priority %d, interval 100 ms: %d", policy() == SCHED_RR, priority(), t.tv_sec == 0 && t.tv_nsec == 100000000);
	fails(set(0, SCHED_RR, 100), EINVAL);
	fails(set(0, SCHED_RR, 0), EINVAL);
	fails(set(0, SCHED_OTHER, 1), EINVAL);
	fails(set(0, 99, 0), EINVAL);
	fails(set(0, -1, 0), EINVAL);
	fails(set(-5, SCHED_OTHER, 0), EINVAL);
	fails(set(999999, SCHED_OTHER, 0), ESRCH);
	fails(syscall(SYS_sched_setscheduler, 0, SCHED_OTHER, NULL), EINVAL);
	pid_t c = must(fork());
	if (c == 0)
		_exit(policy() == SCHED_RR && priority() == 99 ? 0 : 1);
	observe("inherited: %s", reap(c));
	must(set(0, SCHED_RR | SCHED_RESET_ON_FORK, 5));
	observe("with the flag: %#x", policy());
	c = must(fork());
	if (c == 0)
		_exit(policy());
	observe("reset in children: %s", reap(c));
	must(set(0, SCHED_IDLE, 0));
	observe("idle: %d", policy() == SCHED_IDLE);
	must(set(0, SCHED_OTHER, 0));

	struct attr a = { .size = sizeof a, .policy = SCHED_FIFO, .priority = 3 };
	must(syscall(SYS_sched_setattr, 0, &a, 0));
	observe("setattr: %d %d", policy() == SCHED_FIFO, priority());
	memset(&a, 0x55, sizeof a);
	must(syscall(SYS_sched_getattr, 0, &a, sizeof a, 0));
	observe("getattr: size %u, policy %u, flags %d, priority %u", a.size, a.policy, (int)a.flags, a.priority);
	a = (struct attr){ .size = sizeof a, .policy = SCHED_BATCH, .nice = 5, .flags = 1 };
	must(syscall(SYS_sched_setattr, 0, &a, 0));
	must(syscall(SYS_sched_getattr, 0, &a, 48, 0));
	observe("batch: size %u, policy %u, flags %d, nice %d, getpriority %d", a.size, a.policy, (int)a.flags, a.nice, getpriority(PRIO_PROCESS, 0));
	fails(syscall(SYS_sched_setattr, 0, &a, 1), EINVAL);
	fails(syscall(SYS_sched_getattr, 0, &a, 20, 0), EINVAL);
	fails(syscall(SYS_sched_setattr, 0, NULL, 0), EINVAL);
	a = (struct attr){ .size = 20, .policy = SCHED_OTHER };
	fails(syscall(SYS_sched_setattr, 0, &a, 0), E2BIG);
	observe("the size it wants: at least 48: %d", a.size >= 48);
	a = (struct attr){ .size = sizeof a, .flags = 1ULL << 40 };
	fails(syscall(SYS_sched_setattr, 0, &a, 0), EINVAL);

	c = must(fork());
	if (c == 0) {
		must(set(0, SCHED_FIFO, 4));
		must(setuid(1000));
		fails(set(0, SCHED_FIFO, 5), EPERM);
		fails(set(0, SCHED_RR, 4), EPERM);
		observe("lower: %s", result(set(0, SCHED_FIFO, 1)));
		fails(set(0, SCHED_FIFO, 2), EPERM);
		fails(set(getppid(), SCHED_BATCH, 0), EPERM);
		observe("given up: %s", result(set(0, SCHED_OTHER, 0)));
		observe("batch: %s", result(set(0, SCHED_BATCH, 0)));
		fails(set(0, SCHED_FIFO, 1), EPERM);
		_exit(0);
	}
	observe("unprivileged: %s", reap(c));
	return contract_end();
}
