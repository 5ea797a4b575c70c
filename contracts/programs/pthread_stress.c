/*
 * programs/pthread_stress: threads that fork, map, signal and lock at the same time.
 *
 * Catches: races between address-space changes, forks and faults on several processors; anything here that hangs or mixes memory.
 *
 * Timeout: 2m
 */
#include "contract.h"
#include <pthread.h>
#include <sched.h>

static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
static volatile int signals;
static void handler(int s) { (void)s; __atomic_add_fetch(&signals, 1, __ATOMIC_RELAXED); }
static long shared;

static void *mapper(void *x)
{
	long id = (long)x;
	for (int i = 0; i < 60; i++) {
		char *p = must(mmap(NULL, 64 << 10, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
		for (int k = 0; k < 64 << 10; k += 4096) {
			require(p[k] == 0, "new memory is zero");
			p[k] = id;
		}
		must(mprotect(p + 4096, 4096, PROT_READ));
		for (int k = 0; k < 64 << 10; k += 4096)
			require(p[k] == id, "memory keeps its contents");
		must(munmap(p, 64 << 10));
	}
	return NULL;
}

static void *forker(void *x)
{
	for (int i = 0; i < 15; i++) {
		pid_t p = must(fork());
		if (p == 0)
			_exit(i);
		int st;
		while (waitpid(p, &st, 0) < 0)
			require(errno == EINTR, "waitpid");
		require(WIFEXITED(st) && WEXITSTATUS(st) == i, "status of child %d", i);
	}
	return x;
}

static void *locker(void *x)
{
	for (int i = 0; i < 3000; i++) {
		pthread_mutex_lock(&m);
		long v = shared;
		if (i % 64 == 0)
			sched_yield();
		shared = v + 1;
		pthread_mutex_unlock(&m);
	}
	return x;
}

static void *signaller(void *x)
{
	for (int i = 0; i < 100; i++) {
		kill(getpid(), SIGUSR1);
		usleep(500);
	}
	return x;
}

int main(void)
{
	void *(*const kinds[])(void *) = { mapper, forker, locker, signaller, mapper, locker, forker, mapper };
	enum { N = sizeof kinds / sizeof *kinds };
	struct sigaction a = { .sa_handler = handler, .sa_flags = SA_RESTART };
	pthread_t t[N];
	sigaction(SIGUSR1, &a, NULL);
	for (long i = 0; i < N; i++)
		require(!pthread_create(&t[i], NULL, kinds[i], (void *)(i + 1)), "pthread_create");
	for (int i = 0; i < N; i++)
		pthread_join(t[i], NULL);
	observe("locked additions: %ld; signals arrived: %s", shared, signals > 0 ? "yes" : "no");
	require(shared == 6000, "no addition is lost");
	return contract_end();
}
