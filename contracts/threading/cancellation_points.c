/*
 * threading/cancellation_points: threads that sleep in system calls are cancelled there, run their clean-up handlers, and only when they allow it.
 *
 * Catches: calls that do not end when a thread is cancelled, mutexes that stay unlocked in a handler of a condition, cancellation that is not deferred.
 */
#include "contract.h"
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>

static int fds[2], cleaned, held;
static volatile int tid, reached;
static sem_t never;
static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t c = PTHREAD_COND_INITIALIZER;

static void clean(void *arg)
{
	cleaned++;
	if (arg) {
		held = pthread_mutex_trylock(&m) == EBUSY;
		pthread_mutex_unlock(&m);
	}
}

static void *in_read(void *arg)
{
	char b;
	(void)arg;
	tid = gettid();
	pthread_cleanup_push(clean, NULL);
	read(fds[0], &b, 1);
	pthread_cleanup_pop(0);
	return NULL;
}

static void *in_poll(void *arg)
{
	struct pollfd p = { fds[0], POLLIN, 0 };
	(void)arg;
	tid = gettid();
	pthread_cleanup_push(clean, NULL);
	poll(&p, 1, -1);
	pthread_cleanup_pop(0);
	return NULL;
}

static void *in_nanosleep(void *arg)
{
	struct timespec t = { 100, 0 };
	(void)arg;
	tid = gettid();
	pthread_cleanup_push(clean, NULL);
	nanosleep(&t, NULL);
	pthread_cleanup_pop(0);
	return NULL;
}

static void *in_semaphore(void *arg)
{
	(void)arg;
	tid = gettid();
	pthread_cleanup_push(clean, NULL);
	sem_wait(&never);
	pthread_cleanup_pop(0);
	return NULL;
}

static void *in_condition(void *arg)
{
	(void)arg;
	tid = gettid();
	pthread_mutex_lock(&m);
	pthread_cleanup_push(clean, &m);
	for (;;)
		pthread_cond_wait(&c, &m);
	pthread_cleanup_pop(0);
	return NULL;
}

static void *in_wait(void *arg)
{
	tid = gettid();
	pthread_cleanup_push(clean, NULL);
	waitpid((pid_t)(long)arg, NULL, 0);
	pthread_cleanup_pop(0);
	return NULL;
}

static void *disabled(void *arg)
{
	struct timespec t = { 0, 1000000 };
	int old;
	(void)arg;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old);
	tid = gettid();
	while (!reached)
		nanosleep(&t, NULL);
	reached = 2;
	pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &old);
	pthread_testcancel();
	reached = 3;
	return NULL;
}

static void *asynchronous(void *arg)
{
	int old;
	(void)arg;
	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &old);
	tid = gettid();
	for (volatile int spin = 1; spin;)
		;
	return NULL;
}

static void cancel(const char *what, void *(*f)(void *), void *arg, int sleeps)
{
	pthread_t t;
	void *r;
	int before = cleaned;
	tid = 0;
	pthread_create(&t, NULL, f, arg);
	wait_until(tid && (!sleeps || asleep(getpid(), tid)));
	int rc = pthread_cancel(t);
	if (f == disabled)
		reached = 1;
	pthread_join(t, &r);
	observe("%s: cancel %d, cancelled %d, cleaned %d", what, rc, r == PTHREAD_CANCELED, cleaned - before);
}

int main(void)
{
	must(pipe(fds));
	sem_init(&never, 0, 0);
	cancel("read", in_read, NULL, 1);
	cancel("poll", in_poll, NULL, 1);
	cancel("nanosleep", in_nanosleep, NULL, 1);
	cancel("sem_wait", in_semaphore, NULL, 1);
	cancel("pthread_cond_wait", in_condition, NULL, 1);
	observe("the mutex was held in the handler: %d", held);
	pid_t p = must(fork());
	if (p == 0) {
		pause();
		_exit(0);
	}
	cancel("waitpid", in_wait, (void *)(long)p, 1);
	kill(p, SIGKILL);
	reap(p);
	cancel("disabled", disabled, NULL, 0);
	observe("went on until it allowed it: %d", reached);
	cancel("asynchronous", asynchronous, NULL, 0);
	return contract_end();
}
