/*
 * vm/tlb_shootdown: when one thread takes memory away, no other thread still reaches it.
 *
 * Catches: a stale translation on another processor after munmap, mprotect or a copy on write: writes that vanish, or land in
 * memory that belongs to somebody else by now.
 */
#include "contract.h"
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>

enum { PAGE = 4096, ROUNDS = 150 };
static char *volatile page;
static volatile int round_, seen, stop;
static __thread sigjmp_buf back;
static __thread volatile int armed;

static void fault(int s)
{
	(void)s;
	if (!armed)
		_exit(77);
	siglongjmp(back, 1);
}

/* The writer keeps the translation hot, and notes when it loses the right to write. */
static void *writer(void *x)
{
	while (!stop) {
		int r = round_;
		char *p = page;
		if (!p) {
			sched_yield();
			continue;
		}
		if (sigsetjmp(back, 1) == 0) {
			armed = 1;
			for (;;)
				++*(volatile int *)p;
		}
		armed = 0;
		seen = r;
		while (round_ == r && !stop)
			sched_yield();
	}
	return x;
}

int main(void)
{
	pthread_t t;
	signal(SIGSEGV, fault);
	pthread_create(&t, NULL, writer, NULL);
	int wrong = 0;
	for (int i = 1; i <= ROUNDS; i++) {
		char *p = must(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
		page = p;
		round_ = i;
		wait_until(*(volatile int *)p > 0);
		must(mprotect(p, PAGE, PROT_READ));
		int now = *(volatile int *)p;
		for (volatile int k = 0; k < 20000; k++)
			;
		wrong += *(volatile int *)p != now; /* somebody wrote to what is read-only */
		wait_until(seen == i);
		page = NULL;
		must(munmap(p, PAGE));
	}
	stop = 1;
	round_ = ROUNDS + 1;
	pthread_join(t, NULL);
	observe("%d rounds, writes through a stale translation: %d", ROUNDS, wrong);
	require(!wrong, "mprotect reaches every processor before it returns");
	return contract_end();
}
