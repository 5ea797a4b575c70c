/*
 * vm/fork_threads_cow: fork while other threads write: the child's memory is one moment's, the parent loses no write.
 *
 * Catches: a parent whose translations stay writable after fork (the child sees later writes), writes lost between copy and fault.
 */
#include "contract.h"
#include <pthread.h>

enum { PAGES = 32 };
static volatile unsigned long *m;
static volatile int stop;
static unsigned long written[PAGES];

static void *writer(void *x)
{
	for (unsigned long n = 1; !stop; n++)
		for (int i = 0; i < PAGES; i++) {
			m[i * 512] = n;
			written[i] = n;
		}
	return x;
}

int main(void)
{
	pthread_t t;
	m = must(mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	pthread_create(&t, NULL, writer, NULL);
	for (int i = 0; i < 25; i++) {
		pid_t p = must(fork());
		if (p == 0) {
			unsigned long copy[PAGES];
			for (int k = 0; k < PAGES; k++)
				copy[k] = m[k * 512];
			for (volatile int d = 0; d < 100000; d++)
				;
			for (int k = 0; k < PAGES; k++)
				if (m[k * 512] != copy[k])
					_exit(1); /* the parent still writes here */
			for (int k = 1; k < PAGES; k++)
				if (copy[k] > copy[k - 1] || copy[k] + 1 < copy[k - 1])
					_exit(2); /* not one moment */
			_exit(0);
		}
		const char *end = reap(p);
		require(!strcmp(end, "exit 0"), "child %d: %s", i, end);
	}
	stop = 1;
	pthread_join(t, NULL);
	int lost = 0;
	for (int i = 0; i < PAGES; i++)
		lost += m[i * 512] != written[i];
	observe("25 children saw one moment each; writes lost: %d", lost);
	require(!lost, "the parent's writes stay");
	return contract_end();
}
