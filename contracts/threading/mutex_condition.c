/*
 * threading/mutex_condition: locks, conditions, semaphores and once, with more threads than processors.
 *
 * Catches: lost wake-ups, exclusion that is not, timed waits that never end, broadcasts that wake one.
 */
#include "contract.h"
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>

enum { THREADS = 8, ROUNDS = 2000 };
static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t c = PTHREAD_COND_INITIALIZER, other = PTHREAD_COND_INITIALIZER;
static pthread_rwlock_t rw = PTHREAD_RWLOCK_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static sem_t sem;
static long counter, inside, waiting, onces, queue, produced, consumed;

static void init(void) { onces++; }

static void *count(void *x)
{
	pthread_once(&once, init);
	for (int i = 0; i < ROUNDS; i++) {
		pthread_mutex_lock(&m);
		if (++inside != 1)
			contract_fail("two threads inside a mutex");
		counter++;
		if (i % 100 == 0)
			sched_yield();
		inside--;
		pthread_mutex_unlock(&m);
	}
	return x;
}

static void *wait_broadcast(void *x)
{
	pthread_mutex_lock(&m);
	waiting++;
	pthread_cond_signal(&other);
	pthread_cond_wait(&c, &m);
	waiting--;
	pthread_mutex_unlock(&m);
	return x;
}

static void *produce(void *x)
{
	for (int i = 0; i < ROUNDS; i++) {
		pthread_mutex_lock(&m);
		while (queue == 4)
			pthread_cond_wait(&other, &m);
		queue++, produced++;
		pthread_cond_signal(&c);
		pthread_mutex_unlock(&m);
	}
	return x;
}

static void *consume(void *x)
{
	for (int i = 0; i < ROUNDS; i++) {
		pthread_mutex_lock(&m);
		while (queue == 0)
			pthread_cond_wait(&c, &m);
		queue--, consumed++;
		pthread_cond_signal(&other);
		pthread_mutex_unlock(&m);
	}
	return x;
}

static void *read_lock(void *x)
{
	for (int i = 0; i < 500; i++) {
		pthread_rwlock_rdlock(&rw);
		long a = counter;
		sched_yield();
		if (counter != a)
			contract_fail("a writer beside a reader");
		pthread_rwlock_unlock(&rw);
	}
	return x;
}

static void *write_lock(void *x)
{
	for (int i = 0; i < 500; i++) {
		pthread_rwlock_wrlock(&rw);
		counter++;
		pthread_rwlock_unlock(&rw);
	}
	return x;
}

static void *post(void *x)
{
	for (int i = 0; i < ROUNDS; i++)
		sem_post(&sem);
	return x;
}

int main(void)
{
	pthread_t t[THREADS];
	for (int i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, count, NULL);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	observe("mutex: %ld of %d, once %ld", counter, THREADS * ROUNDS, onces);
	require(counter == THREADS * ROUNDS && onces == 1, "no turn is lost");

	for (int i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, wait_broadcast, NULL);
	pthread_mutex_lock(&m);
	while (waiting < THREADS)
		pthread_cond_wait(&other, &m);
	pthread_cond_broadcast(&c);
	pthread_mutex_unlock(&m);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	observe("broadcast: %ld still wait", waiting);

	for (int i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, i & 1 ? produce : consume, NULL);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	observe("bounded queue: produced %ld, consumed %ld, left %ld", produced, consumed, queue);

	counter = 0;
	for (int i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, i & 1 ? read_lock : write_lock, NULL);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	observe("read-write lock: %ld writes", counter);

	sem_init(&sem, 0, 0);
	for (int i = 0; i < 2; i++)
		pthread_create(&t[i], NULL, post, NULL);
	for (int i = 0; i < 2 * ROUNDS; i++)
		sem_wait(&sem);
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	int v;
	sem_getvalue(&sem, &v);
	observe("semaphore: %d left, trywait %s", v, result(sem_trywait(&sem)));
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_nsec += 30000000;
	if (ts.tv_nsec >= 1000000000)
		ts.tv_sec++, ts.tv_nsec -= 1000000000;
	fails(sem_timedwait(&sem, &ts), ETIMEDOUT);
	pthread_mutex_lock(&m);
	observe("timed condition: %s", errno_name(pthread_cond_timedwait(&c, &m, &ts)));
	pthread_mutex_unlock(&m);
	return contract_end();
}
