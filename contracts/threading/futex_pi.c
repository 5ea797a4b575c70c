/*
 * threading/futex_pi: locks with priority inheritance: taken, contended, refused, and left by owners that die.
 *
 * Catches: a lock given to nobody or to two, the wrong word after unlocking, waiters of a dead owner that sleep for ever, plain wake-ups of such waiters.
 */
#include "contract.h"
#include <linux/futex.h>
#include <pthread.h>

#ifndef FUTEX_LOCK_PI2
#define FUTEX_LOCK_PI2 13
#endif

static uint32_t *word, *gate;
static volatile int order, tids[4];

static long futex(uint32_t *w, int op, uint32_t v, const void *t, uint32_t *w2, uint32_t v3) { return syscall(SYS_futex, w, op, v, t, w2, v3); }
static long lock(void) { return futex(word, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0); }
static long unlock(void) { return futex(word, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0); }

static void *waiter(void *arg)
{
	long i = (long)arg;
	tids[i] = gettid();
	if (lock() != 0)
		return "lock failed";
	if ((*word & FUTEX_TID_MASK) != (uint32_t)tids[i])
		return "not mine";
	order = order * 10 + i;
	return unlock() == 0 ? "ok" : "unlock failed";
}

static void *requeued(void *arg)
{
	long i = (long)arg;
	tids[i] = gettid();
	if (futex(gate, FUTEX_WAIT_REQUEUE_PI_PRIVATE, 0, NULL, word, 0) != 0)
		return (void *)errno_name(errno);
	if ((*word & FUTEX_TID_MASK) != (uint32_t)tids[i])
		return "not mine";
	order++;
	return unlock() == 0 ? "ok" : "unlock failed";
}

static void *dies(void *arg)
{
	if (lock() != 0)
		return "lock failed";
	__atomic_store_n((int *)arg, 1, __ATOMIC_SEQ_CST);
	wait_until(tids[1] && asleep(getpid(), tids[1]));
	syscall(SYS_exit, 0); /* without unlocking */
	return NULL;
}

static void *inherits(void *arg)
{
	tids[1] = gettid();
	long r = lock();
	*(uint32_t *)arg = *word;
	if (r == 0)
		unlock();
	return (void *)r;
}

int main(void)
{
	word = must(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	gate = word + 1;
	must(lock());
	observe("locked: mine %d", *word == (uint32_t)gettid());
	fails(lock(), EDEADLK);
	fails(futex(word, FUTEX_TRYLOCK_PI_PRIVATE, 0, NULL, NULL, 0), EDEADLK);
	must(unlock());
	observe("unlocked: %u", *word);
	fails(unlock(), EPERM);
	observe("tried: %s", result(futex(word, FUTEX_TRYLOCK_PI_PRIVATE, 0, NULL, NULL, 0)));

	pthread_t t[3];
	void *r;
	for (long i = 1; i <= 3; i++) {
		pthread_create(&t[i - 1], NULL, waiter, (void *)i);
		wait_until(tids[i] && asleep(getpid(), tids[i]));
	}
	observe("contended: mine %d, waiters %d", (*word & FUTEX_TID_MASK) == (uint32_t)gettid(), !!(*word & FUTEX_WAITERS));
	fails(futex(word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0), EINVAL);
	must(unlock());
	for (int i = 0; i < 3; i++) {
		pthread_join(t[i], &r);
		observe("waiter: %s", (char *)r);
	}
	observe("in the order in which they came: %d, at last free: %d", order, *word == 0 || (*word & FUTEX_TID_MASK) == 0);

	/* A time-out, and an owner that does not exist. */
	must(lock());
	pid_t p = must(fork());
	if (p == 0) {
		struct timespec at;
		*word = getppid();
		clock_gettime(CLOCK_REALTIME, &at);
		at.tv_nsec += 20000000;
		if (at.tv_nsec >= 1000000000)
			at.tv_sec++, at.tv_nsec -= 1000000000;
		fails(futex(word, FUTEX_LOCK_PI, 0, &at, NULL, 0), ETIMEDOUT);
		*word = getppid();
		clock_gettime(CLOCK_MONOTONIC, &at);
		fails(futex(word, FUTEX_LOCK_PI2, 0, &at, NULL, 0), ETIMEDOUT);
		*word = 0x3ffffffe;
		fails(futex(word, FUTEX_LOCK_PI, 0, NULL, NULL, 0), ESRCH);
		*word = FUTEX_OWNER_DIED;
		observe("left by a dead owner: %s", result(futex(word, FUTEX_LOCK_PI, 0, NULL, NULL, 0)));
		observe("  mine %d, still marked %d", (*word & FUTEX_TID_MASK) == (uint32_t)getpid(), !!(*word & FUTEX_OWNER_DIED));
		_exit(0);
	}
	observe("child: %s", reap(p));
	must(unlock());

	/* The owner dies with a waiter in the kernel. */
	int held = 0;
	uint32_t seen = 0;
	tids[1] = 0;
	pthread_create(&t[0], NULL, dies, &held);
	wait_until(__atomic_load_n(&held, __ATOMIC_SEQ_CST));
	pthread_create(&t[1], NULL, inherits, &seen);
	pthread_join(t[1], &r);
	observe("after the owner's death: %s, marked %d", result((long)r), !!(seen & FUTEX_OWNER_DIED));

	/* Requeued from a plain word to the lock. */
	*word = *gate = 0;
	order = 0;
	must(lock());
	for (long i = 1; i <= 3; i++) {
		tids[i] = 0;
		pthread_create(&t[i - 1], NULL, requeued, (void *)i);
		wait_until(tids[i] && asleep(getpid(), tids[i]));
	}
	fails(futex(gate, FUTEX_CMP_REQUEUE_PI_PRIVATE, 2, (void *)10L, word, 0), EINVAL);
	fails(futex(gate, FUTEX_CMP_REQUEUE_PI_PRIVATE, 1, (void *)10L, word, 5), EAGAIN);
	fails(futex(gate, FUTEX_CMP_REQUEUE_PI_PRIVATE, 1, (void *)10L, gate, 0), EINVAL);
	fails(futex(gate, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0), EINVAL);
	observe("requeued: %s", result(futex(gate, FUTEX_CMP_REQUEUE_PI_PRIVATE, 1, (void *)10L, word, 0)));
	observe("nobody has it yet: %d", order);
	must(unlock());
	for (int i = 0; i < 3; i++) {
		pthread_join(t[i], &r);
		observe("requeued waiter: %s", (char *)r);
	}
	observe("all had it: %d", order);
	*gate = 1;
	fails(futex(gate, FUTEX_WAIT_REQUEUE_PI_PRIVATE, 0, NULL, word, 0), EAGAIN);
	struct timespec past = { 1, 0 };
	fails(futex(gate, FUTEX_WAIT_REQUEUE_PI_PRIVATE, 1, &past, word, 0), ETIMEDOUT);
	fails(futex(word, FUTEX_WAIT_PRIVATE | FUTEX_CLOCK_REALTIME, 0, &past, NULL, 0), ENOSYS);
	return contract_end();
}
