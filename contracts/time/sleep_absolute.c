/*
 * time/sleep_absolute: clock_nanosleep to a time: not early, interrupted without a rest, restarted to the same time, on a clock of processor time.
 *
 * Catches: a rest written for an absolute sleep, a sleep begun anew after a signal, sleeps on the process's clock that count real time.
 */
#include "contract.h"
#include <pthread.h>

static volatile int handled, stop;
static void handler(int s) { handled += s; }

static void *spinner(void *arg)
{
	while (!stop)
		;
	return arg;
}

static struct timespec later(clockid_t c, long ms)
{
	struct timespec t;
	clock_gettime(c, &t);
	t.tv_sec += ms / 1000;
	t.tv_nsec += ms % 1000 * 1000000;
	if (t.tv_nsec >= 1000000000)
		t.tv_sec++, t.tv_nsec -= 1000000000;
	return t;
}

static int reached(clockid_t c, struct timespec t)
{
	struct timespec n;
	clock_gettime(c, &n);
	return n.tv_sec > t.tv_sec || (n.tv_sec == t.tv_sec && n.tv_nsec >= t.tv_nsec);
}

static pid_t sender(int sig)
{
	pid_t me = getpid(), p = must(fork());
	if (p == 0) {
		wait_until(asleep(me, me));
		kill(me, sig);
		_exit(0);
	}
	return p;
}

int main(void)
{
	struct sigaction a = { .sa_handler = handler };
	struct timespec rest = { 77, 77 };
	sigaction(SIGUSR1, &a, NULL);
	static const clockid_t ids[] = { CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_TAI };
	for (int i = 0; i < 4; i++) {
		struct timespec t = later(ids[i], 15);
		int r = clock_nanosleep(ids[i], TIMER_ABSTIME, &t, NULL);
		observe("clock %d: %d, reached %d", (int)ids[i], r, reached(ids[i], t));
	}
	struct timespec t = later(CLOCK_MONOTONIC, 100000);
	pid_t p = sender(SIGUSR1);
	observe("interrupted: %s, handled %d, rest %ld", errno_name(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, &rest)), handled > 0, (long)rest.tv_sec);
	reap(p);
	t = later(CLOCK_MONOTONIC, 80);
	p = sender(SIGCONT); /* nobody handles it */
	observe("goes on: %d", clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, &rest));
	observe("to the same time: %d", reached(CLOCK_MONOTONIC, t));
	reap(p);
	struct timespec bad = { 1, -1 };
	observe("bad times: %s %s", errno_name(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &bad, NULL)), errno_name(clock_nanosleep(CLOCK_MONOTONIC, 0, &bad, NULL)));
	fails(syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC_RAW, 0, &t, NULL), EOPNOTSUPP);
	fails(syscall(SYS_clock_nanosleep, 77, 0, &t, NULL), EINVAL);
	fails(syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, NULL, NULL), EFAULT);

	/* The process's clock runs because another thread computes. */
	pthread_t thread;
	pthread_create(&thread, NULL, spinner, NULL);
	t = later(CLOCK_PROCESS_CPUTIME_ID, 40);
	observe("on the process's clock: %d, reached %d", clock_nanosleep(CLOCK_PROCESS_CPUTIME_ID, TIMER_ABSTIME, &t, NULL), reached(CLOCK_PROCESS_CPUTIME_ID, t));
	t = (struct timespec){ 0, 30000000 };
	long long b = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	observe("relative: %d", clock_nanosleep(CLOCK_PROCESS_CPUTIME_ID, 0, &t, NULL));
	observe("  at least 30 ms of it: %d", clock_ns(CLOCK_PROCESS_CPUTIME_ID) - b >= 30000000);
	stop = 1;
	pthread_join(thread, NULL);
	return contract_end();
}
