/*
 * threading/priority_mutex: mutexes with PTHREAD_PRIO_INHERIT: exclusion, error checking, timeouts, conditions, robust ones in shared memory.
 *
 * Catches: the kernel's half of such mutexes missing or not exclusive, EOWNERDEAD that is not told.
 */
#include "contract.h"
#include <pthread.h>

enum { THREADS = 4, TURNS = 500 };

static pthread_mutex_t m;
static pthread_cond_t c = PTHREAD_COND_INITIALIZER;
static int count, inside, worst, go;

static void *worker(void *arg)
{
	for (int i = 0; i < TURNS; i++) {
		pthread_mutex_lock(&m);
		if (++inside > worst)
			worst = inside;
		count++;
		if (i % 16 == 0)
			sched_yield();
		inside--;
		pthread_mutex_unlock(&m);
	}
	return arg;
}

static void *conditioned(void *arg)
{
	pthread_mutex_lock(&m);
	while (!go)
		pthread_cond_wait(&c, &m);
	count++;
	pthread_mutex_unlock(&m);
	return arg;
}

int main(void)
{
	pthread_mutexattr_t a;
	pthread_t t[THREADS];
	int protocol = 99;
	pthread_mutexattr_init(&a);
	observe("protocol: %d", pthread_mutexattr_setprotocol(&a, PTHREAD_PRIO_INHERIT));
	pthread_mutexattr_getprotocol(&a, &protocol);
	observe("read back: %d", protocol == PTHREAD_PRIO_INHERIT);
	pthread_mutexattr_settype(&a, PTHREAD_MUTEX_ERRORCHECK);
	observe("init: %d", pthread_mutex_init(&m, &a));
	observe("lock %d, again %s, unlock %d, again %s", pthread_mutex_lock(&m), errno_name(pthread_mutex_lock(&m)), pthread_mutex_unlock(&m),
		errno_name(pthread_mutex_unlock(&m)));
	for (int i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, worker, NULL);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	observe("count %d, most inside %d", count, worst);
	count = 0;
	for (int i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, conditioned, NULL);
	pthread_mutex_lock(&m);
	go = 1;
	pthread_cond_broadcast(&c);
	pthread_mutex_unlock(&m);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	observe("after the broadcast: %d", count);

	pthread_mutex_t *shared = must(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
	observe("robust: %d", pthread_mutex_init(shared, &a));
	pid_t p = must(fork());
	if (p == 0) {
		pthread_mutex_lock(shared);
		_exit(0);
	}
	reap(p);
	observe("after the owner's death: %s, made consistent %d", errno_name(pthread_mutex_lock(shared)), pthread_mutex_consistent(shared));
	p = must(fork());
	if (p == 0) {
		struct timespec at;
		clock_gettime(CLOCK_REALTIME, &at);
		at.tv_sec--;
		_exit(pthread_mutex_timedlock(shared, &at) == ETIMEDOUT ? 0 : 1);
	}
	observe("timed out: %s", reap(p));
	p = must(fork());
	if (p == 0)
		_exit(pthread_mutex_lock(shared) == 0 && pthread_mutex_unlock(shared) == 0 ? 0 : 1);
	wait_until(asleep(p, p));
	observe("unlocked %d", pthread_mutex_unlock(shared));
	observe("waiter: %s", reap(p));
	return contract_end();
}
