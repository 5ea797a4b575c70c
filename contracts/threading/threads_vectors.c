/*
 * threading/threads_vectors: threads that share processors keep their vector and floating-point registers.
 *
 * Catches: vector state kept per process instead of per thread, a rounding mode that leaks into another thread.
 *
 * Flags: -lm
 */
#include "vectors.h"
#include <fenv.h>
#include <pthread.h>

static void *run(void *arg)
{
	long n = (long)arg;
	struct vectors in, out;
	static const int modes[] = { FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO };
	fesetround(modes[n & 3]);
	for (int i = 0; i < 60; i++) {
		vectors_pattern(&in, n * 100 + i);
		vectors_spin(&in, &out, 100000);
		vectors_require(&in, &out, "thread computing");
		vectors_syscall(&in, &out, SYS_sched_yield, 0, 0, 0, 0);
		vectors_require(&in, &out, "thread yielding");
		require(fegetround() == modes[n & 3], "thread %ld: its rounding mode", n);
	}
	return NULL;
}

int main(void)
{
	pthread_t t[6];
	for (long i = 0; i < 6; i++)
		pthread_create(&t[i], NULL, run, (void *)i);
	for (int i = 0; i < 6; i++)
		pthread_join(t[i], NULL);
	observe("six threads: vector registers and rounding modes preserved");
	fesetround(FE_UPWARD);
	pid_t p = fork();
	if (p == 0)
		_exit(fegetround() == FE_UPWARD ? 0 : 1);
	observe("a forked child keeps the rounding mode: %s", reap(p));
	return contract_end();
}
