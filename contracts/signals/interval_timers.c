/*
 * signals/interval_timers: alarm and setitimer in their three clocks.
 *
 * Catches: timers that fire once when they repeat, ITIMER_VIRTUAL that counts sleep, the rest of an alarm not told, timers inherited by children.
 */
#include "contract.h"
#include <sys/time.h>

static volatile int fired[65];
static void handler(int s) { fired[s]++; }

int main(void)
{
	signal(SIGALRM, handler);
	signal(SIGVTALRM, handler);
	signal(SIGPROF, handler);
	observe("alarm(100): %u", alarm(100));
	unsigned left = alarm(0);
	observe("alarm(0): %s", left >= 99 && left <= 100 ? "99 or 100" : "wrong");
	struct itimerval t = { { 0, 10000 }, { 0, 20000 } }, old, off = { { 0, 0 }, { 0, 0 } };
	must(setitimer(ITIMER_REAL, &t, &old));
	observe("old: %ld %ld", (long)old.it_value.tv_sec, (long)old.it_value.tv_usec);
	pid_t p = must(fork());
	if (p == 0) {
		getitimer(ITIMER_REAL, &old);
		_exit(old.it_value.tv_sec || old.it_value.tv_usec ? 1 : 0);
	}
	while (fired[SIGALRM] < 3)
		pause();
	must(setitimer(ITIMER_REAL, &off, &old));
	observe("fired at least 3 times; interval %ld us", (long)old.it_interval.tv_usec);
	observe("a child has no timer: %s", reap(p));
	int n = fired[SIGALRM];
	usleep(40000);
	observe("after switching off: %d more", fired[SIGALRM] - n);

	t = (struct itimerval){ { 0, 0 }, { 0, 30000 } };
	must(setitimer(ITIMER_VIRTUAL, &t, NULL));
	must(setitimer(ITIMER_PROF, &t, NULL));
	usleep(80000);
	observe("asleep for 80 ms: VTALRM %d, PROF %d", fired[SIGVTALRM], fired[SIGPROF]);
	require(!fired[SIGVTALRM] && !fired[SIGPROF], "processor time only");
	wait_until(({ for (volatile int i = 0; i < 3000000; i++); fired[SIGVTALRM] && fired[SIGPROF]; }));
	observe("after computing: VTALRM %d, PROF %d", fired[SIGVTALRM], fired[SIGPROF]);
	t.it_value.tv_usec = 1000000;
	fails(setitimer(ITIMER_REAL, &t, NULL), EINVAL);
	fails(setitimer(7, &off, NULL), EINVAL);
	return contract_end();
}
