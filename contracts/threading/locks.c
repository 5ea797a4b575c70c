/*
 * threading/locks: read-write locks, barriers, spin locks and once.
 *
 * Catches: writers beside readers, barriers that let somebody through early or elect two, a routine that runs twice.
 */
#include "contract.h"
#include <pthread.h>

enum { THREADS = 5, ROUNDS = 40 };

static pthread_rwlock_t rw = PTHREAD_RWLOCK_INITIALIZER;
static pthread_barrier_t barrier;
static pthread_spinlock_t spin;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int readers, writers, bad, elected, arrived[ROUNDS], early, spun, ran;

static void routine(void) { ran++; }

static void *reader_writer(void *arg)
{
	long id = (long)arg;
	for (int i = 0; i < ROUNDS; i++) {
		if ((i + id) % 4 == 0) {
			pthread_rwlock_wrlock(&rw);
			if (__atomic_add_fetch(&writers, 1, __ATOMIC_SEQ_CST) != 1 || __atomic_load_n(&readers, __ATOMIC_SEQ_CST))
				bad++;
			sched_yield();
			__atomic_sub_fetch(&writers, 1, __ATOMIC_SEQ_CST);
		} else {
			pthread_rwlock_rdlock(&rw);
			__atomic_add_fetch(&readers, 1, __ATOMIC_SEQ_CST);
			if (__atomic_load_n(&writers, __ATOMIC_SEQ_CST))
				__atomic_add_fetch(&bad, 1, __ATOMIC_SEQ_CST);
			__atomic_sub_fetch(&readers, 1, __ATOMIC_SEQ_CST);
		}
		pthread_rwlock_unlock(&rw);
	}
	return NULL;
}

static void *rounds(void *arg)
{
	(void)arg;
	for (int i = 0; i < ROUNDS; i++) {
		pthread_once(&once, routine);
		__atomic_add_fetch(&arrived[i], 1, __ATOMIC_SEQ_CST);
		int r = pthread_barrier_wait(&barrier);
		if (__atomic_load_n(&arrived[i], __ATOMIC_SEQ_CST) != THREADS)
			__atomic_add_fetch(&early, 1, __ATOMIC_SEQ_CST);
		if (r == PTHREAD_BARRIER_SERIAL_THREAD)
			__atomic_add_fetch(&elected, 1, __ATOMIC_SEQ_CST);
		pthread_spin_lock(&spin);
		spun++;
		pthread_spin_unlock(&spin);
	}
	return NULL;
}

static void run(void *(*f)(void *))
{
	pthread_t t[THREADS];
	for (long i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, f, (void *)i);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
}

int main(void)
{
	struct timespec past = { 1, 0 };
	run(reader_writer);
	observe("readers and writers together: %d", bad);
	pthread_rwlock_rdlock(&rw);
	observe("read: another reader %d, a writer %s", pthread_rwlock_tryrdlock(&rw), errno_name(pthread_rwlock_trywrlock(&rw)));
	observe("a writer with a time limit: %s", errno_name(pthread_rwlock_timedwrlock(&rw, &past)));
	pthread_rwlock_unlock(&rw);
	pthread_rwlock_unlock(&rw);
	pthread_rwlock_wrlock(&rw);
	observe("written: a reader %s", errno_name(pthread_rwlock_tryrdlock(&rw)));
	pthread_rwlock_unlock(&rw);
	pthread_barrier_init(&barrier, NULL, THREADS);
	pthread_spin_init(&spin, PTHREAD_PROCESS_PRIVATE);
	run(rounds);
	observe("barrier: let through early %d, elected %d of %d rounds", early, elected, ROUNDS);
	observe("spin lock: %d, once: %d", spun, ran);
	pthread_spin_lock(&spin);
	observe("locked: %s", errno_name(pthread_spin_trylock(&spin)));
	observe("barrier of nobody: %s", errno_name(pthread_barrier_init(&barrier, NULL, 0)));

	/* Between processes. */
	pthread_barrierattr_t a;
	pthread_barrier_t *shared = must(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	pthread_barrierattr_init(&a);
	pthread_barrierattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
	pthread_barrier_init(shared, &a, 2);
	pid_t p = must(fork());
	if (p == 0) {
		int r = pthread_barrier_wait(shared);
		_exit(r == 0 ? 1 : r == PTHREAD_BARRIER_SERIAL_THREAD ? 2 : 9);
	}
	int mine = pthread_barrier_wait(shared) == PTHREAD_BARRIER_SERIAL_THREAD ? 2 : 1, st;
	waitpid(p, &st, 0);
	observe("exactly one of two processes is elected: %d", mine + WEXITSTATUS(st) == 3);
	return contract_end();
}
