/*
 * time/timer_overrun: expirations that have no signal of their own are counted, none is lost, and counts belong to the signal that was taken.
 *
 * Catches: overruns that are too few when the machine is busy, too many, kept from an earlier signal, or missing in the siginfo.
 */
#include "contract.h"
#include <pthread.h>

static volatile int stop;
static void *spinner(void *arg)
{
	while (!stop)
		;
	return arg;
}

int main(void)
{
	sigset_t set;
	siginfo_t si;
	timer_t t;
	pthread_t busy[3];
	struct sigevent e = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN, .sigev_value.sival_int = 5 };
	struct itimerspec s = { { 0, 1000000 }, { 0, 1000000 } };
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	sigprocmask(SIG_BLOCK, &set, NULL);
	must(timer_create(CLOCK_MONOTONIC, &e, &t));
	for (int round = 0; round < 2; round++) {
		if (round == 1)
			for (int i = 0; i < 3; i++)
				pthread_create(&busy[i], NULL, spinner, NULL);
		long long b = clock_ns(CLOCK_MONOTONIC);
		must(timer_settime(t, 0, &s, NULL));
		for (long long end = clock_ns(CLOCK_MONOTONIC) + 100000000; clock_ns(CLOCK_MONOTONIC) < end;)
			;
		long long before = clock_ns(CLOCK_MONOTONIC) - b;
		must(sigwaitinfo(&set, &si));
		long long after = clock_ns(CLOCK_MONOTONIC) - b;
		long n = si.si_overrun + 1;
		observe("round %d: value %d, not less than have passed: %d, not more: %d", round, si.si_value.sival_int, n >= before / 1000000 - 1, n <= after / 1000000 + 1);
		observe("  timer_getoverrun agrees: %d", timer_getoverrun(t) == si.si_overrun);
		/* The next signal has a count of its own, of the time since. */
		must(sigwaitinfo(&set, &si));
		long long last = clock_ns(CLOCK_MONOTONIC) - b;
		observe("  the next: what has passed since: %d", si.si_overrun + 1 <= last / 1000000 + 1 - n);
		struct itimerspec off = { 0 };
		must(timer_settime(t, 0, &off, NULL));
		struct timespec now = { 0, 0 };
		while (sigtimedwait(&set, &si, &now) > 0)
			;
	}
	stop = 1;
	for (int i = 0; i < 3; i++)
		pthread_join(busy[i], NULL);
	s = (struct itimerspec){ { 0, 0 }, { 0, 1000000 } };
	must(timer_settime(t, 0, &s, NULL));
	must(sigwaitinfo(&set, &si));
	observe("a single one: overruns %d", si.si_overrun);
	must(timer_delete(t));
	fails(syscall(SYS_timer_getoverrun, 12345), EINVAL);
	return contract_end();
}
