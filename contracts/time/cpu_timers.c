/*
 * time/cpu_timers: timers that count processor time, and RLIMIT_CPU.
 *
 * Catches: timers that run while the process sleeps, the wrong signal, intervals that do not repeat, a limit that is not kept.
 */
#include "contract.h"
#include <sys/resource.h>
#include <sys/time.h>

static volatile int virt, prof, posix_, limit;

static void handler(int s)
{
	virt += s == SIGVTALRM;
	prof += s == SIGPROF;
	posix_ += s == SIGUSR1;
	limit += s == SIGXCPU;
}

static void compute(volatile int *until, int n)
{
	while (*until < n)
		for (volatile int i = 0; i < 10000; i++)
			;
}

int main(void)
{
	struct sigaction a = { .sa_handler = handler };
	sigaction(SIGVTALRM, &a, NULL);
	sigaction(SIGPROF, &a, NULL);
	sigaction(SIGUSR1, &a, NULL);
	sigaction(SIGXCPU, &a, NULL);
	struct itimerval v = { { 0, 100000 }, { 0, 100000 } }, old;
	must(setitimer(ITIMER_VIRTUAL, &v, NULL));
	must(setitimer(ITIMER_PROF, &v, NULL));
	usleep(300000);
	observe("asleep: %d %d", virt, prof);
	long long b = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	compute(&virt, 3);
	observe("three times virtual: not before 200 ms: %d, prof at least twice: %d", clock_ns(CLOCK_PROCESS_CPUTIME_ID) - b >= 200000000, prof >= 2);
	must(getitimer(ITIMER_PROF, &old));
	observe("interval: %ld, left at most that: %d", (long)old.it_interval.tv_usec, old.it_value.tv_sec == 0 && old.it_value.tv_usec <= 100000);
	memset(&v, 0, sizeof v);
	must(setitimer(ITIMER_VIRTUAL, &v, NULL));
	must(setitimer(ITIMER_PROF, &v, &old));
	observe("off: interval was %ld", (long)old.it_interval.tv_usec);
	v.it_value.tv_usec = 10000;
	must(setitimer(ITIMER_PROF, &v, NULL));
	int before = prof;
	compute(&prof, before + 1);
	must(getitimer(ITIMER_PROF, &old));
	observe("once: left %ld %ld", (long)old.it_value.tv_sec, (long)old.it_value.tv_usec);

	timer_t t;
	struct sigevent e = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
	struct itimerspec s = { { 0, 60000000 }, { 0, 60000000 } }, left;
	must(timer_create(CLOCK_PROCESS_CPUTIME_ID, &e, &t));
	must(timer_settime(t, 0, &s, NULL));
	usleep(200000);
	observe("POSIX timer, asleep: %d", posix_);
	compute(&posix_, 2);
	must(timer_gettime(t, &left));
	observe("interval %ld, running: %d", left.it_interval.tv_nsec, left.it_value.tv_nsec > 0 && left.it_value.tv_nsec <= 60000000);
	must(timer_delete(t));
	must(timer_create(CLOCK_THREAD_CPUTIME_ID, &e, &t));
	posix_ = 0;
	s = (struct itimerspec){ { 0, 0 }, { 0, 1 } }; /* a time that is past */
	must(timer_settime(t, TIMER_ABSTIME, &s, NULL));
	compute(&posix_, 1);
	must(timer_gettime(t, &left));
	observe("absolute, past: %d, left %ld %ld", posix_, (long)left.it_value.tv_sec, left.it_value.tv_nsec);
	must(timer_delete(t));
	fails(timer_create((clockid_t)(~999999u << 3 | 2), &e, &t), EINVAL);

	pid_t p = must(fork());
	if (p == 0) {
		struct rlimit r = { 1, 2 };
		must(setrlimit(RLIMIT_CPU, &r));
		compute(&limit, 1);
		long long used = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
		observe("SIGXCPU after at least 0.7 s: %d", used >= 700000000);
		for (;;)
			;
	}
	observe("then: %s", reap(p));
	return contract_end();
}
