/*
 * process/usage: processor time of the caller and of children that have been waited for.
 *
 * Catches: times that stand still or go back, children counted before they are waited for, thread time that is the process'.
 */
#include "contract.h"
#include <sys/resource.h>
#include <sys/times.h>

static long long us(struct timeval t) { return t.tv_sec * 1000000LL + t.tv_usec; }

static void burn(long long ns)
{
	for (long long end = clock_ns(CLOCK_PROCESS_CPUTIME_ID) + ns; clock_ns(CLOCK_PROCESS_CPUTIME_ID) < end;)
		for (volatile int i = 0; i < 10000; i++)
			;
}

int main(void)
{
	struct rusage u, c;
	must(getrusage(RUSAGE_SELF, &u));
	long long before = us(u.ru_utime) + us(u.ru_stime);
	burn(60000000);
	must(getrusage(RUSAGE_SELF, &u));
	long long used = us(u.ru_utime) + us(u.ru_stime) - before;
	observe("after burning 60 ms, used at least 30 ms: %s", used >= 30000 ? "yes" : "no");
	require(used >= 30000 && used < 20000000, "own time grows by what was burnt, is %lld us", used);

	int p2[2];
	char b;
	must(pipe(p2));
	pid_t p = must(fork());
	if (p == 0) {
		burn(60000000);
		_exit(0);
	}
	siginfo_t si;
	must(waitid(P_PID, p, &si, WEXITED | WNOWAIT));
	must(getrusage(RUSAGE_CHILDREN, &c));
	observe("children before wait: %lld us", us(c.ru_utime) + us(c.ru_stime));
	struct rusage w;
	int st;
	require(wait4(p, &st, 0, &w) == p, "wait4");
	observe("wait4 says at least 30 ms: %s", us(w.ru_utime) + us(w.ru_stime) >= 30000 ? "yes" : "no");
	must(getrusage(RUSAGE_CHILDREN, &c));
	observe("children after wait at least 30 ms: %s", us(c.ru_utime) + us(c.ru_stime) >= 30000 ? "yes" : "no");
	require(us(c.ru_utime) + us(c.ru_stime) >= 30000, "children's time counts after wait");
	struct tms t;
	require(times(&t) != -1, "times");
	observe("times: children at least 2 ticks: %s", t.tms_cutime + t.tms_cstime >= 2 ? "yes" : "no");
	fails(getrusage(5, &u), EINVAL);
	close(p2[1]);
	read(p2[0], &b, 1);
	char *touched = malloc(4 << 20); /* Linux counts in batches of pages */
	require(touched, "malloc");
	memset(touched, 1, 4 << 20);
	must(getrusage(RUSAGE_SELF, &u));
	observe("resident memory known: %s", u.ru_maxrss > 0 ? "yes" : "no");
	return contract_end();
}
