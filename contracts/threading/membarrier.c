/*
 * threading/membarrier: barriers on all threads of a process, and their registration.
 *
 * Catches: barriers that are none (a store and a load that pass each other in Dekker's algorithm), use without registration, unknown commands accepted.
 */
#include "contract.h"
#include <linux/membarrier.h>
#include <pthread.h>

static long membarrier(int cmd, unsigned flags) { return syscall(SYS_membarrier, cmd, flags, 0); }

enum { ROUNDS = 300 };

static volatile int x, y, round_fast, round_slow, seen_fast, seen_slow;

/* The side without a barrier of its own: the compiler keeps the order, the processor need not. */
static void *fast(void *arg)
{
	for (int i = 1; i <= ROUNDS; i++) {
		while (round_slow < i)
			;
		x = 1;
		__asm__ volatile("" ::: "memory");
		seen_fast = y;
		__atomic_store_n(&round_fast, i, __ATOMIC_RELEASE);
	}
	return arg;
}

int main(void)
{
	long all = must(membarrier(MEMBARRIER_CMD_QUERY, 0));
	observe("global %d, private %d, registration %d", !!(all & MEMBARRIER_CMD_GLOBAL), !!(all & MEMBARRIER_CMD_PRIVATE_EXPEDITED),
		!!(all & MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED));
	fails(membarrier(MEMBARRIER_CMD_QUERY, 1), EINVAL);
	fails(membarrier(1 << 20, 0), EINVAL);
	fails(membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0), EPERM);
	fails(membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0), EPERM);
	must(membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0));
	observe("registered: %s", result(membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0)));
	fails(membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0), EPERM);
	must(membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE, 0));
	observe("for the instruction stream: %s", result(membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0)));
	must(membarrier(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0));
	observe("global, expedited: %s", result(membarrier(MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0)));
	pid_t p = must(fork());
	if (p == 0)
		_exit(membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0) == 0 ? 0 : errno);
	observe("inherited: %s", reap(p));

	pthread_t t;
	int both_missed = 0;
	pthread_create(&t, NULL, fast, NULL);
	for (int i = 1; i <= ROUNDS; i++) {
		x = y = 0;
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		__atomic_store_n(&round_slow, i, __ATOMIC_RELEASE);
		y = 1;
		must(membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0));
		seen_slow = x;
		while (__atomic_load_n(&round_fast, __ATOMIC_ACQUIRE) < i)
			;
		both_missed += !seen_fast && !seen_slow;
	}
	pthread_join(t, NULL);
	observe("both sides missed the other: %d", both_missed);
	return contract_end();
}
