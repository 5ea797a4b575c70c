/*
 * scheduling/fairness: spinning tasks do not starve others, nor each other.
 *
 * Catches: a kernel without preemption, a sleeper that is woken late because others compute, one task that gets nothing.
 */
#include "contract.h"

enum { SPINNERS = 6 };

int main(void)
{
	volatile unsigned long *count = must(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	pid_t p[SPINNERS];
	for (int i = 0; i < SPINNERS; i++) {
		p[i] = must(fork());
		if (p[i] == 0)
			for (;;)
				count[i]++;
	}
	int late = 0;
	for (int i = 0; i < 20; i++) {
		long long b = clock_ns(CLOCK_MONOTONIC);
		usleep(5000);
		late += clock_ns(CLOCK_MONOTONIC) - b > 2000000000LL;
	}
	for (long long b = clock_ns(CLOCK_MONOTONIC); clock_ns(CLOCK_MONOTONIC) - b < 1000000000LL;)
		usleep(10000);
	int starved = 0;
	for (int i = 0; i < SPINNERS; i++) {
		starved += count[i] == 0;
		kill(p[i], SIGKILL);
	}
	for (int i = 0; i < SPINNERS; i++)
		reap(p[i]);
	observe("%d spinners: starved %d; 20 sleeps, more than 2 s late: %d", SPINNERS, starved, late);
	require(!starved && !late, "everybody runs");
	return contract_end();
}
