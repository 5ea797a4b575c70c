/*
 * threading/condition_broadcast: condition variables: all that wait are woken, and nobody by a signal meant for another.
 *
 * Catches: requeued waiters that are lost, a broadcast that wakes one, timeouts on the wrong clock, clocks that are ignored.
 */
#include "contract.h"
#include <pthread.h>

enum { THREADS = 12, ROUNDS = 30 };

static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t go = PTHREAD_COND_INITIALIZER, done = PTHREAD_COND_INITIALIZER;
static int generation, waiting, passed;

static void *worker(void *arg)
{
	pthread_mutex_lock(&m);
	for (int g = 1; g <= ROUNDS; g++) {
		waiting++;
		pthread_cond_signal(&done);
		while (generation < g)
			pthread_cond_wait(&go, &m);
		passed++;
	}
	pthread_mutex_unlock(&m);
	return arg;
}

int main(void)
{
	pthread_t t[THREADS];
	for (int i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, worker, NULL);
	pthread_mutex_lock(&m);
	for (int g = 1; g <= ROUNDS; g++) {
		while (waiting < g * THREADS)
			pthread_cond_wait(&done, &m);
		require(passed == (g - 1) * THREADS, "nobody passes before the broadcast");
		generation = g;
		pthread_cond_broadcast(&go);
	}
	pthread_mutex_unlock(&m);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	observe("%d threads passed %d times", THREADS, passed / THREADS);

	struct timespec at;
	pthread_condattr_t a;
	pthread_cond_t c;
	pthread_condattr_init(&a);
	observe("monotonic: %d", pthread_condattr_setclock(&a, CLOCK_MONOTONIC));
	observe("a clock of CPU time: %s", errno_name(pthread_condattr_setclock(&a, CLOCK_PROCESS_CPUTIME_ID)));
	pthread_cond_init(&c, &a);
	clock_gettime(CLOCK_MONOTONIC, &at);
	at.tv_nsec += 20000000;
	if (at.tv_nsec >= 1000000000)
		at.tv_sec++, at.tv_nsec -= 1000000000;
	pthread_mutex_lock(&m);
	int r = pthread_cond_timedwait(&c, &m, &at);
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	observe("timed out: %s, not early: %d", errno_name(r), now.tv_sec > at.tv_sec || (now.tv_sec == at.tv_sec && now.tv_nsec >= at.tv_nsec));
	at.tv_nsec = 1000000000;
	observe("a bad time: %s", errno_name(pthread_cond_timedwait(&c, &m, &at)));
	observe("the mutex is held: %s", errno_name(pthread_mutex_trylock(&m)));
	pthread_mutex_unlock(&m);
	return contract_end();
}
