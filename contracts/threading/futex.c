/*
 * threading/futex: wait, wake, bitsets, requeue, timeouts, and what is refused.
 *
 * Catches: a sleep although the word has changed, wakes of too many, requeued waiters lost, private and shared words confused.
 */
#include "contract.h"
#include <linux/futex.h>
#include <pthread.h>

static uint32_t *word, *second;
static volatile int awake;
static volatile pid_t tids[8];

static long futex(uint32_t *w, int op, uint32_t v, const void *t, uint32_t *w2, uint32_t v3) { return syscall(SYS_futex, w, op, v, t, w2, v3); }

static void *waiter(void *arg)
{
	long i = (long)arg;
	tids[i] = gettid();
	long r = i >= 4 ? futex(word, FUTEX_WAIT_BITSET_PRIVATE, 0, NULL, NULL, 1 << i) : futex(word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
	if (r == 0)
		__atomic_add_fetch(&awake, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

static pthread_t t[8];

static void start(int from, int to)
{
	for (long i = from; i < to; i++) {
		tids[i] = 0;
		pthread_create(&t[i], NULL, waiter, (void *)i);
		wait_until(tids[i] && asleep(getpid(), tids[i]));
	}
}

int main(void)
{
	word = must(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	second = word + 1;
	struct timespec brief = { 0, 20000000 }, bad = { 0, 1000000000 };
	fails(futex(word, FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0), EAGAIN);
	long long b = clock_ns(CLOCK_MONOTONIC);
	fails(futex(word, FUTEX_WAIT_PRIVATE, 0, &brief, NULL, 0), ETIMEDOUT);
	require(clock_ns(CLOCK_MONOTONIC) - b >= 20000000, "waits its time");
	fails(futex(word, FUTEX_WAIT_PRIVATE, 0, &bad, NULL, 0), EINVAL);
	fails(futex((uint32_t *)((char *)word + 1), FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0), EINVAL);
	fails(futex((uint32_t *)16, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0), EFAULT);
	fails(futex(word, FUTEX_WAIT_BITSET_PRIVATE, 0, NULL, NULL, 0), EINVAL);
	fails(futex(word, 99, 0, NULL, NULL, 0), ENOSYS);
	struct timespec past;
	clock_gettime(CLOCK_MONOTONIC, &past);
	fails(futex(word, FUTEX_WAIT_BITSET_PRIVATE, 0, &past, NULL, ~0U), ETIMEDOUT);
	observe("wake nobody: %s", result(futex(word, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0)));

	start(0, 4);
	observe("wake 2 of 4: %s", result(futex(word, FUTEX_WAKE_PRIVATE, 2, NULL, NULL, 0)));
	wait_until(awake == 2);
	observe("requeue: wake 0, move 10: %s", result(futex(word, FUTEX_CMP_REQUEUE_PRIVATE, 0, (void *)10L, second, 0)));
	fails(futex(word, FUTEX_CMP_REQUEUE_PRIVATE, 0, (void *)10L, second, 5), EAGAIN);
	observe("nobody at the old word: %s", result(futex(word, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0)));
	observe("both at the new one: %s", result(futex(second, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0)));
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	observe("awake: %d", awake);

	awake = 0;
	start(4, 8);
	observe("bitset of the fifth: %s", result(futex(word, FUTEX_WAKE_BITSET_PRIVATE, 10, NULL, NULL, 1 << 5)));
	pthread_join(t[5], NULL);
	observe("bitset of sixth and seventh: %s", result(futex(word, FUTEX_WAKE_BITSET_PRIVATE, 10, NULL, NULL, 3 << 6)));
	observe("the last by a plain wake: %s", result(futex(word, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0)));
	for (int i = 4; i < 8; i++)
		if (i != 5)
			pthread_join(t[i], NULL);
	observe("awake: %d", awake);

	/* Between processes, through a shared page. */
	uint32_t *shared = must(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	pid_t p = must(fork());
	if (p == 0)
		_exit(futex(shared, FUTEX_WAIT, 0, NULL, NULL, 0) == 0 ? 0 : errno);
	wait_until(asleep(p, p));
	observe("a private wake does not reach it: %s", result(futex(shared, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0)));
	observe("a shared one does: %s", result(futex(shared, FUTEX_WAKE, 1, NULL, NULL, 0)));
	observe("waiter: %s", reap(p));
	return contract_end();
}
