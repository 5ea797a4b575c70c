/*
 * programs/pthread_primitives: barriers, reader-writer locks, spin locks, semaphores, condition variables with time limits, once and keys, under load.
 *
 * Catches: wake-ups of one waiter where all are meant, waiters that starve, time limits that are late or never, destructors that do not run.
 *
 * Timeout: 60s
 */
#include "contract.h"
#include <pthread.h>
#include <semaphore.h>

enum { N = 8 };

static pthread_barrier_t barrier;
static int phase[N], serial, ahead;

static void *phases(void *x)
{
	long me = (long)x;
	for (int i = 0; i < 100; i++) {
		phase[me] = i;
		if (pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD)
			serial++; /* only one */
		for (int k = 0; k < N; k++)
			if (phase[k] != i)
				__atomic_add_fetch(&ahead, 1, __ATOMIC_RELAXED);
		pthread_barrier_wait(&barrier);
	}
	return NULL;
}

static pthread_rwlock_t rw = PTHREAD_RWLOCK_INITIALIZER;
static pthread_spinlock_t spin;
static long a, b, torn, spun;

static void *readers_writers(void *x)
{
	for (int i = 0; i < 300; i++) {
		if ((long)x < 2) {
			pthread_rwlock_wrlock(&rw);
			a++;
			if (i % 50 == 0)
				sched_yield();
			b++;
			pthread_rwlock_unlock(&rw);
		} else {
			pthread_rwlock_rdlock(&rw);
			if (a != b)
				__atomic_add_fetch(&torn, 1, __ATOMIC_RELAXED);
			pthread_rwlock_unlock(&rw);
		}
		if (i % 4 == 0) {
			pthread_spin_lock(&spin);
			spun++;
			pthread_spin_unlock(&spin);
		}
	}
	return NULL;
}

static sem_t empty, full;
static int ring[4], in, out_;
static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
static long produced, consumed;

static void *produce(void *x)
{
	for (int i = 0; i < 200; i++) {
		sem_wait(&empty);
		pthread_mutex_lock(&m);
		ring[in++ % 4] = i + (int)(long)x;
		produced += i + (long)x;
		pthread_mutex_unlock(&m);
		sem_post(&full);
	}
	return NULL;
}

static void *consume(void *x)
{
	for (int i = 0; i < 200; i++) {
		sem_wait(&full);
		pthread_mutex_lock(&m);
		consumed += ring[out_++ % 4];
		pthread_mutex_unlock(&m);
		sem_post(&empty);
	}
	return x;
}

static pthread_key_t key;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int destroyed, initialised;
static void destroy(void *x) { (void)x; __atomic_add_fetch(&destroyed, 1, __ATOMIC_RELAXED); }
static void initialise(void) { initialised++; pthread_key_create(&key, destroy); }

static void *keyed(void *x)
{
	pthread_once(&once, initialise);
	pthread_setspecific(key, x);
	return pthread_getspecific(key);
}

static void run(int n, void *(*const body[])(void *), int bodies)
{
	pthread_t t[2 * N];
	for (long i = 0; i < n; i++)
		require(!pthread_create(&t[i], NULL, body[i % bodies], (void *)i), "pthread_create");
	for (int i = 0; i < n; i++)
		pthread_join(t[i], NULL);
}

static pthread_cond_t c = PTHREAD_COND_INITIALIZER;
static int go, arrived, woken;

static void *wait_for_go(void *x)
{
	pthread_mutex_lock(&m);
	arrived++;
	while (!go)
		pthread_cond_wait(&c, &m);
	woken++;
	pthread_mutex_unlock(&m);
	return x;
}

static void *detached(void *x)
{
	sem_post(x);
	return NULL;
}

int main(void)
{
	pthread_barrier_init(&barrier, NULL, N);
	run(N, (void *(*const[])(void *)){ phases }, 1);
	observe("barrier: 100 phases, one of each serial: %d, ahead: %d", serial, ahead);

	pthread_spin_init(&spin, PTHREAD_PROCESS_PRIVATE);
	run(N, (void *(*const[])(void *)){ readers_writers }, 1);
	observe("reader-writer: %ld %ld, torn %ld, spun %ld", a, b, torn, spun);
	struct timespec soon;
	clock_gettime(CLOCK_REALTIME, &soon);
	soon.tv_nsec += 5000000;
	if (soon.tv_nsec >= 1000000000)
		soon.tv_sec++, soon.tv_nsec -= 1000000000;
	pthread_rwlock_rdlock(&rw);
	observe("write lock while read: %s, %s", errno_name(pthread_rwlock_trywrlock(&rw)), errno_name(pthread_rwlock_timedwrlock(&rw, &soon)));
	pthread_rwlock_unlock(&rw);

	sem_init(&empty, 0, 4);
	sem_init(&full, 0, 0);
	run(N, (void *(*const[])(void *)){ produce, consume }, 2);
	observe("semaphores: %s, %d in, %d out", produced == consumed ? "nothing lost" : "lost", in, out_);
	observe("sem_trywait: %s, sem_timedwait: %s", result(sem_trywait(&full)), result(sem_timedwait(&full, &soon)));

	pthread_t t[N];
	for (int i = 0; i < N; i++)
		require(!pthread_create(&t[i], NULL, wait_for_go, NULL), "pthread_create");
	wait_until(__atomic_load_n(&arrived, __ATOMIC_SEQ_CST) == N);
	pthread_mutex_lock(&m);
	go = 1;
	pthread_cond_broadcast(&c);
	pthread_mutex_unlock(&m);
	for (int i = 0; i < N; i++)
		pthread_join(t[i], NULL);
	observe("broadcast woke %d", woken);
	pthread_mutex_lock(&m);
	long long begin = clock_ns(CLOCK_REALTIME);
	struct timespec then = { (begin + 20000000) / 1000000000, (begin + 20000000) % 1000000000 };
	int r = pthread_cond_timedwait(&c, &m, &then);
	observe("condition with a limit: %s, early: %s", errno_name(r), clock_ns(CLOCK_REALTIME) - begin < 20000000 ? "yes" : "no");
	pthread_mutex_unlock(&m);

	run(N, (void *(*const[])(void *)){ keyed }, 1);
	/* The first thread's value is 0, for which no destructor runs. */
	observe("once: %d, destructors: %d", initialised, destroyed);

	sem_t gone;
	sem_init(&gone, 0, 0);
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, 64 << 10);
	for (int i = 0; i < 200; i++) {
		pthread_t d;
		require(!pthread_create(&d, &attr, detached, &gone), "a detached thread");
		sem_wait(&gone);
	}
	observe("200 detached threads came and went");
	return contract_end();
}
