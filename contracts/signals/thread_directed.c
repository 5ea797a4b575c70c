/*
 * signals/thread_directed: process-wide signals wake exactly one thread that waits for them.
 *
 * Catches: a signal given to a thread that blocks it, or to all threads; one that is lost when the chosen thread ends.
 */
#include "contract.h"
#include <pthread.h>

enum { THREADS = 4 };
static volatile pid_t tids[THREADS];
static volatile int got[THREADS];
static sigset_t set;

static void *waiter(void *arg)
{
	long n = (long)arg;
	siginfo_t si;
	tids[n] = gettid();
	for (;;) {
		int s = sigwaitinfo(&set, &si);
		if (s == SIGRTMIN + 5)
			return NULL;
		__atomic_add_fetch(&got[n], s == SIGUSR1, __ATOMIC_SEQ_CST);
	}
}

static int total(void)
{
	int n = 0;
	for (int i = 0; i < THREADS; i++)
		n += got[i];
	return n;
}

int main(void)
{
	pthread_t t[THREADS];
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGRTMIN + 5);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	for (long i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, waiter, (void *)i);
	for (int i = 0; i < THREADS; i++)
		wait_until(tids[i] && asleep(getpid(), tids[i]));
	for (int i = 1; i <= 50; i++) {
		must(kill(getpid(), SIGUSR1));
		wait_until(total() == i);
	}
	observe("50 signals, received: %d", total());
	for (int i = 0; i < THREADS; i++)
		must(sigqueue(getpid(), SIGRTMIN + 5, (union sigval){ .sival_int = i }));
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	observe("each of %d threads took one of %d queued signals", THREADS, THREADS);
	sigset_t pending;
	sigpending(&pending);
	observe("left: %d", sigismember(&pending, SIGRTMIN + 5));
	return contract_end();
}
