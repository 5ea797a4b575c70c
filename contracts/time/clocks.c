/*
 * time/clocks: every clock runs, forwards, at the same pace.
 *
 * Catches: a monotonic clock that goes back between processors, clocks with different units, a thread's clock that counts sleep.
 */
#include "contract.h"
#include <sys/time.h>
#include <sys/times.h>

int main(void)
{
	static const struct { const char *name; clockid_t id; } clocks[] = {
		{ "REALTIME", CLOCK_REALTIME }, { "MONOTONIC", CLOCK_MONOTONIC }, { "MONOTONIC_RAW", CLOCK_MONOTONIC_RAW }, { "REALTIME_COARSE", CLOCK_REALTIME_COARSE },
		{ "MONOTONIC_COARSE", CLOCK_MONOTONIC_COARSE }, { "BOOTTIME", CLOCK_BOOTTIME }, { "PROCESS_CPUTIME", CLOCK_PROCESS_CPUTIME_ID }, { "THREAD_CPUTIME", CLOCK_THREAD_CPUTIME_ID },
	};
	struct timespec t;
	for (unsigned i = 0; i < sizeof clocks / sizeof *clocks; i++) {
		must(clock_gettime(clocks[i].id, &t));
		long long a = clock_ns(clocks[i].id);
		int cpu = i >= 6;
		usleep(50000);
		long long d = clock_ns(clocks[i].id) - a;
		observe("%s: %s", clocks[i].name, cpu ? (d < 40000000 ? "stands still in sleep" : "counts sleep") : d >= 40000000 && d < 5000000000 ? "runs" : "wrong");
		require(cpu ? d < 40000000 : d >= 40000000 && d < 5000000000, "%s moved by %lld ns in 50 ms of sleep", clocks[i].name, d);
		must(clock_getres(clocks[i].id, &t));
		observe("  resolution at most 10 ms: %d", t.tv_sec == 0 && t.tv_nsec > 0 && t.tv_nsec <= 10000000);
	}
	long long last = 0, backwards = 0;
	for (int i = 0; i < 20000; i++) {
		long long now = clock_ns(CLOCK_MONOTONIC);
		backwards += now < last;
		last = now;
		if (i % 1000 == 0)
			syscall(SYS_sched_yield);
	}
	observe("20000 readings, backwards: %lld", backwards);
	require(!backwards, "monotonic");
	struct timeval tv;
	gettimeofday(&tv, NULL);
	long long diff = clock_ns(CLOCK_REALTIME) / 1000 - (tv.tv_sec * 1000000LL + tv.tv_usec);
	observe("gettimeofday agrees: %d, time agrees: %d", diff >= 0 && diff < 2000000, labs(time(NULL) - tv.tv_sec) <= 2);
	struct timespec raw;
	must(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &raw));
	long long gap = clock_ns(CLOCK_MONOTONIC) - (raw.tv_sec * 1000000000LL + raw.tv_nsec);
	observe("the vDSO and the call agree: %d", gap >= 0 && gap < 2000000000);
	require(time(NULL) > 1600000000, "the year is plausible");
	fails(clock_gettime(99, &t), EINVAL);
	fails(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, (void *)8), EFAULT);
	struct tms tms;
	observe("times answers: %d", times(&tms) != (clock_t)-1);
	return contract_end();
}
