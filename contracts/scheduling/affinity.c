/*
 * scheduling/affinity: on which processors a task may run, and where it says it is.
 *
 * Catches: masks that are stored and not kept, empty masks accepted, a mask that children do not inherit.
 */
#include "contract.h"
#include <sched.h>

int main(void)
{
	cpu_set_t all, one, now;
	unsigned cpu = 99;
	long bytes = syscall(SYS_sched_getaffinity, 0, sizeof all, &all);
	observe("bytes answered are a multiple of 8: %d, processors: %s", bytes > 0 && bytes % 8 == 0, CPU_COUNT(&all) >= 1 ? "some" : "none");
	must(sched_getaffinity(0, sizeof all, &all));
	for (int i = 0, tried = 0; i < CPU_SETSIZE && tried < 2; i++) {
		if (!CPU_ISSET(i, &all))
			continue;
		tried++;
		CPU_ZERO(&one);
		CPU_SET(i, &one);
		must(sched_setaffinity(0, sizeof one, &one));
		must(sched_getaffinity(0, sizeof now, &now));
		int there = 1;
		for (int k = 0; k < 200; k++) {
			must(syscall(SYS_getcpu, &cpu, NULL, NULL));
			there &= (int)cpu == i;
			sched_yield();
		}
		require(CPU_EQUAL(&one, &now) && there, "runs where it must: on %u instead of %d", cpu, i);
	}
	observe("runs where it is told");
	pid_t p = must(fork());
	if (p == 0) {
		sched_getaffinity(0, sizeof now, &now);
		_exit(CPU_EQUAL(&one, &now) ? 0 : 1);
	}
	observe("inherited: %s", reap(p));
	CPU_ZERO(&now);
	fails(sched_setaffinity(0, sizeof now, &now), EINVAL);
	CPU_SET(1000, &now);
	fails(sched_setaffinity(0, sizeof now, &now), EINVAL);
	fails(sched_setaffinity(999999, sizeof all, &all), ESRCH);
	fails(syscall(SYS_sched_getaffinity, 0, 1, &now), EINVAL);
	observe("back to all: %s", result(sched_setaffinity(0, sizeof all, &all)));
	return contract_end();
}
