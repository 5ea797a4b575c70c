/*
 * threading/specific_data: keys, their destructors, and thread-local variables.
 *
 * Catches: values that another thread sees, destructors that do not run or run for NULL, TLS that is not initialised in each thread or lost at fork.
 */
#include "contract.h"
#include <pthread.h>

static pthread_key_t first, second, none;
static int destroyed, again;
static __thread int local = 7;
static __thread char big[5000];

static void destroy(void *p) { destroyed += (int)(long)p; }

/* sets its own key once more: the destructors run again */
static void twice(void *p)
{
	again++;
	if ((long)p == 1)
		pthread_setspecific(second, (void *)2L);
}

static void *worker(void *arg)
{
	if (pthread_getspecific(first) != NULL || local != 7 || big[4999] != 0)
		return "not fresh";
	pthread_setspecific(first, arg);
	pthread_setspecific(second, (void *)1L);
	pthread_setspecific(none, arg);
	local = (int)(long)arg;
	memset(big, (int)(long)arg, sizeof big);
	sched_yield();
	if (pthread_getspecific(first) != arg || local != (int)(long)arg || big[4999] != (char)(long)arg)
		return "changed by another";
	return "ok";
}

int main(void)
{
	pthread_t t[6];
	void *r;
	observe("keys: %d %d %d", pthread_key_create(&first, destroy), pthread_key_create(&second, twice), pthread_key_create(&none, NULL));
	pthread_setspecific(first, (void *)1000L);
	for (long i = 0; i < 6; i++)
		pthread_create(&t[i], NULL, worker, (void *)(i + 1));
	for (int i = 0; i < 6; i++) {
		pthread_join(t[i], &r);
		require(!strcmp(r, "ok"), "%s", (char *)r);
	}
	observe("destroyed %d, the other %d times", destroyed, again);
	observe("main's own: %ld, local %d", (long)pthread_getspecific(first), local);
	local = 11;
	pid_t p = must(fork());
	if (p == 0)
		_exit(local == 11 && pthread_getspecific(first) == (void *)1000L ? 0 : 1);
	observe("kept at fork: %s", reap(p));
	pthread_key_delete(first);
	pthread_create(&t[0], NULL, worker, (void *)3L);
	pthread_join(t[0], NULL);
	observe("after deletion: destroyed %d", destroyed);
	return contract_end();
}
