/*
 * time/sleeps: nanosleep, clock_nanosleep relative and absolute, and their refusals.
 *
 * Catches: sleeps that are too short, absolute sleeps treated as relative, the rest not told after a signal.
 */
#include "contract.h"

static void handler(int s) { (void)s; }

int main(void)
{
	static const long ms[] = { 0, 1, 5, 20, 60 };
	for (unsigned i = 0; i < sizeof ms / sizeof *ms; i++) {
		struct timespec t = { 0, ms[i] * 1000000 };
		long long b = clock_ns(CLOCK_MONOTONIC);
		must(nanosleep(&t, NULL));
		long long d = clock_ns(CLOCK_MONOTONIC) - b;
		observe("nanosleep %ld ms: long enough %d", ms[i], d >= ms[i] * 1000000);
		require(d >= ms[i] * 1000000, "slept %lld ns", d);
	}
	static const clockid_t ids[] = { CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME };
	for (int i = 0; i < 3; i++) {
		struct timespec t;
		clock_gettime(ids[i], &t);
		t.tv_nsec += 20000000;
		if (t.tv_nsec >= 1000000000)
			t.tv_sec++, t.tv_nsec -= 1000000000;
		int r = clock_nanosleep(ids[i], TIMER_ABSTIME, &t, NULL);
		struct timespec n;
		clock_gettime(ids[i], &n);
		observe("absolute: %d, reached %d", r, n.tv_sec > t.tv_sec || (n.tv_sec == t.tv_sec && n.tv_nsec >= t.tv_nsec));
		t = (struct timespec){ 0, 1 };
		observe("in the past: %d", clock_nanosleep(ids[i], TIMER_ABSTIME, &t, NULL));
	}
	struct timespec t = { 0, 1000000000 }, rem = { 5, 5 };
	fails(nanosleep(&t, NULL), EINVAL);
	t = (struct timespec){ -1, 0 };
	fails(nanosleep(&t, NULL), EINVAL);
	observe("thread clock: %s, unknown clock: %s", errno_name(clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &rem, NULL)), errno_name(clock_nanosleep(99, 0, &rem, NULL)));
	struct sigaction a = { .sa_handler = handler, .sa_flags = SA_RESTART };
	sigaction(SIGUSR1, &a, NULL);
	pid_t self = getpid(), p = must(fork());
	if (p == 0) {
		wait_until(asleep(self, self));
		kill(self, SIGUSR1);
		_exit(0);
	}
	t = (struct timespec){ 10, 0 };
	fails(nanosleep(&t, &rem), EINTR);
	observe("the rest: between 1 and 10 s %d", rem.tv_sec >= 1 && rem.tv_sec < 10);
	reap(p);
	p = must(fork());
	if (p == 0) {
		wait_until(asleep(self, self));
		kill(self, SIGCONT); /* ignored by default: the sleep goes on */
		_exit(0);
	}
	t = (struct timespec){ 0, 80000000 };
	long long b = clock_ns(CLOCK_MONOTONIC);
	observe("an ignored signal: %s", result(nanosleep(&t, &rem)));
	require(clock_ns(CLOCK_MONOTONIC) - b >= 80000000, "not cut short");
	reap(p);
	return contract_end();
}
