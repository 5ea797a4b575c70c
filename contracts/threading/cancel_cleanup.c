/*
 * threading/cancel_cleanup: cancellation of threads that sleep in system calls, and cleanup handlers.
 *
 * Catches: signals directed at a thread that do not interrupt its sleep, restarts of cancelled calls.
 */
#include "contract.h"
#include <pthread.h>

static int p[2];
static volatile pid_t tid;
static volatile int cleaned;

static void clean(void *x) { cleaned += (int)(long)x; }

static void *sleeper(void *x)
{
	char c;
	pthread_cleanup_push(clean, (void *)1L);
	tid = gettid();
	if (x)
		read(p[0], &c, 1);
	else
		for (;;)
			pause();
	pthread_cleanup_pop(0);
	return NULL;
}

int main(void)
{
	pthread_t t;
	void *r;
	must(pipe(p));
	for (long kind = 0; kind < 2; kind++)
		for (int i = 0; i < 5; i++) {
			tid = 0;
			pthread_create(&t, NULL, sleeper, (void *)kind);
			wait_until(tid && asleep(getpid(), tid));
			pthread_cancel(t);
			pthread_join(t, &r);
			require(r == PTHREAD_CANCELED, "cancelled");
		}
	observe("ten sleepers cancelled, cleanup ran %d times", cleaned);
	require(cleaned == 10, "each cleans up once");
	return contract_end();
}
