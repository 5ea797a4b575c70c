/*
 * threading/futex_waitv: waiting on several words at once.
 *
 * Catches: the wrong index answered, words that stay waited on after the call, a sleep although one of the words has changed.
 */
#include "contract.h"
#include <linux/futex.h>
#include <pthread.h>

struct word {
	uint64_t value, address;
	uint32_t flags, reserved;
};

enum { SIZE_32 = 2, PRIVATE = 128 };

static uint32_t *words;
static volatile int tid;

static long waitv(struct word *w, unsigned n, unsigned flags, const struct timespec *t, int clock) { return syscall(449, w, n, flags, t, clock); }
static long wake(uint32_t *w) { return syscall(SYS_futex, w, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0); }

static void fill(struct word *w, int n)
{
	for (int i = 0; i < n; i++)
		w[i] = (struct word){ words[i], (uintptr_t)&words[i], SIZE_32 | PRIVATE, 0 };
}

static void *waiter(void *arg)
{
	struct word w[3];
	(void)arg;
	fill(w, 3);
	tid = gettid();
	return (void *)waitv(w, 3, 0, NULL, 0);
}

int main(void)
{
	struct word w[130];
	words = must(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	struct timespec past = { 0, 1 };
	fill(w, 130);
	fails(waitv(w, 3, 0, &past, CLOCK_MONOTONIC), ETIMEDOUT);
	fails(waitv(w, 128, 0, &past, CLOCK_REALTIME), ETIMEDOUT);
	fails(waitv(w, 129, 0, &past, CLOCK_MONOTONIC), EINVAL);
	fails(waitv(w, 0, 0, &past, CLOCK_MONOTONIC), EINVAL);
	fails(waitv(w, 1, 1, &past, CLOCK_MONOTONIC), EINVAL);
	fails(waitv(w, 1, 0, &past, CLOCK_BOOTTIME), EINVAL);
	fails(waitv(NULL, 1, 0, &past, CLOCK_MONOTONIC), EINVAL);
	w[1].value = 1;
	fails(waitv(w, 3, 0, NULL, 0), EAGAIN);
	observe("not waited on any more: %s", result(wake(&words[0])));
	fill(w, 3);
	w[1].reserved = 1;
	fails(waitv(w, 3, 0, &past, CLOCK_MONOTONIC), EINVAL);
	fill(w, 3);
	w[2].flags = 0;
	fails(waitv(w, 3, 0, &past, CLOCK_MONOTONIC), EINVAL);
	fill(w, 3);
	w[2].address = 8;
	fails(waitv(w, 3, 0, &past, CLOCK_MONOTONIC), EFAULT);
	fill(w, 3);
	w[0].address++;
	fails(waitv(w, 3, 0, &past, CLOCK_MONOTONIC), EINVAL);
	for (int i = 0; i < 3; i++) {
		pthread_t t;
		void *r;
		tid = 0;
		pthread_create(&t, NULL, waiter, NULL);
		wait_until(tid && asleep(getpid(), tid));
		observe("word %d: woken %s", i, result(wake(&words[i])));
		pthread_join(t, &r);
		observe("  index %ld, others: %s %s", (long)r, result(wake(&words[(i + 1) % 3])), result(wake(&words[(i + 2) % 3])));
	}
	return contract_end();
}
