/*
 * threading/robust_mutex: what is left when the owner of a lock dies.
 *
 * Catches: the robust list not walked at exit, or only for the first thread; FUTEX_OWNER_DIED not set; waiters not woken.
 */
#include "contract.h"
#include <pthread.h>

static pthread_mutex_t *m;

static void *die_with_lock(void *x)
{
	pthread_mutex_lock(m);
	return x;
}

int main(void)
{
	pthread_mutexattr_t a;
	pthread_t t;
	m = must(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	pthread_mutexattr_init(&a);
	pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
	pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
	pthread_mutex_init(m, &a);

	pthread_create(&t, NULL, die_with_lock, NULL);
	pthread_join(t, NULL);
	observe("after a thread died: %s", errno_name(pthread_mutex_lock(m)));
	observe("made consistent: %s, unlock %s", errno_name(pthread_mutex_consistent(m)), errno_name(pthread_mutex_unlock(m)));

	pid_t p = must(fork());
	if (p == 0) {
		pthread_mutex_lock(m);
		pause();
	}
	wait_until(pthread_mutex_trylock(m) == EBUSY || (pthread_mutex_unlock(m), 0));
	pid_t waiter = must(fork());
	if (waiter == 0)
		_exit(pthread_mutex_lock(m) == EOWNERDEAD ? 9 : 1);
	wait_until(asleep(waiter, waiter));
	kill(p, SIGKILL);
	observe("owner: %s", reap(p));
	observe("a waiter in another process: %s", reap(waiter));
	/* The waiter died as owner without making it consistent. */
	int r = pthread_mutex_lock(m);
	observe("again: %s", errno_name(r));
	pthread_mutex_unlock(m);
	observe("unlocked without repair: %s", errno_name(pthread_mutex_lock(m)));
	return contract_end();
}
