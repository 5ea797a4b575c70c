/*
 * threading/tls_fork: fork in a program with threads: one thread in the child, its storage kept.
 *
 * Catches: a child whose thread pointer is lost, a child that has all threads, locks of the C library left held.
 */
#include "contract.h"
#include <pthread.h>
#include <dirent.h>

static __thread long local;
static volatile int stop;

static void *noise(void *x)
{
	while (!stop)
		free(malloc(100));
	return x;
}

static int threads(void)
{
	int n = 0;
	DIR *d = opendir("/proc/self/task");
	if (!d)
		return -1;
	for (struct dirent *e; (e = readdir(d));)
		n += e->d_name[0] != '.';
	closedir(d);
	return n;
}

static void *forker(void *x)
{
	local = 77;
	for (int i = 0; i < 10; i++) {
		pid_t p = must(fork());
		if (p == 0) {
			void *m = malloc(1000);
			int ok = m && local == 77 && gettid() == getpid() && threads() == 1;
			free(m);
			_exit(ok ? 0 : 1);
		}
		const char *end = reap(p);
		if (strcmp(end, "exit 0"))
			contract_fail("child %d: %s", i, end);
	}
	observe("ten children, each with one thread and its forker's storage");
	return x;
}

int main(void)
{
	pthread_t t, n[2];
	for (int i = 0; i < 2; i++)
		pthread_create(&n[i], NULL, noise, NULL);
	pthread_create(&t, NULL, forker, NULL);
	pthread_join(t, NULL);
	wait_until(threads() == 3); /* a joined thread may take a moment to vanish */
	observe("threads here: %d", threads());
	stop = 1;
	for (int i = 0; i < 2; i++)
		pthread_join(n[i], NULL);
	wait_until(threads() == 1);
	observe("then: %d", threads());
	return contract_end();
}
