/*
 * threading/pthread_basics: threads start, join, detach, have their own id, errno and thread-local storage.
 *
 * Catches: thread pointers mixed up between threads, a tid word that is not cleared (join hangs), stacks that overlap.
 */
#include "contract.h"
#include <pthread.h>
#include <sched.h>

enum { THREADS = 16 };
static __thread int local = 5;
static __thread char big[4096];
static pid_t tids[THREADS];
static pthread_barrier_t barrier;

static void *run(void *arg)
{
	long n = (long)arg;
	volatile char stack[20000];
	require(local == 5 && big[4095] == 0, "thread-local storage starts fresh");
	local = n;
	memset(big, n, sizeof big);
	memset((char *)stack, n, sizeof stack);
	tids[n] = gettid();
	errno = n;
	pthread_barrier_wait(&barrier);
	for (int i = 0; i < 20; i++) {
		sched_yield();
		require(errno == n && local == n && big[77] == (char)n && stack[i * 1000] == (char)n, "thread %ld: its storage is its own", n);
	}
	return (void *)(n * n);
}

static void *leave(void *x)
{
	pthread_exit(x);
}

static void *main_ended(void *x)
{
	usleep(20000);
	observe("the process goes on after its first thread");
	exit(contract_end());
	return x;
}

int main(void)
{
	pthread_t t[THREADS];
	long sum = 0;
	void *r;
	pthread_barrier_init(&barrier, NULL, THREADS);
	for (long i = 0; i < THREADS; i++)
		require(!pthread_create(&t[i], NULL, run, (void *)i), "pthread_create");
	for (int i = 0; i < THREADS; i++) {
		pthread_join(t[i], &r);
		sum += (long)r;
	}
	int same = 0;
	for (int i = 0; i < THREADS; i++)
		for (int k = 0; k < i; k++)
			same += tids[i] == tids[k] || tids[i] == getpid();
	observe("%d threads: sum of results %ld, equal ids %d, main's local %d, getpid is gettid %d", THREADS, sum, same, local, getpid() == gettid());
	require(sum == 1240 && !same && local == 5, "each thread is itself");
	for (int i = 0; i < 300; i++) {
		pthread_t one;
		require(!pthread_create(&one, NULL, leave, (void *)7L), "create and join, turn %d", i);
		pthread_join(one, &r);
		require(r == (void *)7L, "pthread_exit's value");
	}
	observe("300 created and joined");
	pthread_create(&t[0], NULL, main_ended, NULL);
	syscall(SYS_exit, 0);
}
