/*
 * programs/allocator_stress: threads that allocate, grow, hand over and free memory, the allocator's way and with mmap, mremap and madvise.
 *
 * Catches: mappings that overlap, mremap that loses a page, discarded pages that come back with old contents, a break that moves under a thread.
 *
 * Timeout: 2m
 */
#include "contract.h"
#include <pthread.h>

enum { THREADS = 4, ROUNDS = 250, SLOTS = 64 };

struct block { unsigned char *p; size_t n; unsigned char fill; };

/* A few blocks pass from thread to thread, so that memory is freed by others than who allocated it. */
static struct block shelf[SLOTS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static unsigned next(unsigned *seed) { return *seed = *seed * 1664525 + 1013904223, *seed >> 8; }

static void check(struct block b)
{
	for (size_t i = 0; i < b.n; i += b.n / 16 + 1)
		require(b.p[i] == b.fill, "memory keeps its contents: byte %zu of %zu", i, b.n);
}

static void *allocate(void *x)
{
	unsigned seed = (unsigned)(long)x;
	for (int i = 0; i < ROUNDS; i++) {
		size_t n = next(&seed) % 8 == 0 ? 200000 + next(&seed) % 300000 : 1 + next(&seed) % 3000;
		struct block b = { malloc(n), n, (unsigned char)(i * 7 + (long)x) };
		require(b.p, "malloc of %zu", n);
		memset(b.p, b.fill, n);
		if (i % 5 == 0) {
			b.n = n / 2 + 1;
			require((b.p = realloc(b.p, b.n)), "realloc");
		} else if (i % 7 == 0) {
			require((b.p = realloc(b.p, n * 3)), "realloc");
			memset(b.p + n, b.fill, n * 2);
			b.n = n * 3;
		}
		int slot = next(&seed) % SLOTS;
		pthread_mutex_lock(&lock);
		struct block old = shelf[slot];
		shelf[slot] = b;
		pthread_mutex_unlock(&lock);
		if (old.p) {
			check(old);
			free(old.p);
		}
	}
	return NULL;
}

static void *map(void *x)
{
	unsigned seed = (unsigned)(long)x * 77;
	size_t page = 4096;
	for (int i = 0; i < ROUNDS / 8; i++) {
		size_t n = (1 + next(&seed) % 32) * page, bigger = n * 2;
		unsigned char fill = (unsigned char)(i + 1), *p = must(mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
		memset(p, fill, n);
		p = must(mremap(p, n, bigger, MREMAP_MAYMOVE));
		for (size_t k = 0; k < bigger; k += page)
			require(p[k] == (k < n ? fill : 0), "grown memory: page %zu", k / page);
		must(madvise(p, page, MADV_DONTNEED));
		require(p[0] == 0 && (n == page || p[page] == fill), "discarded memory is zero, its neighbour is not");
		if (bigger > 2 * page) {
			must(munmap(p + page, page));
			unsigned char *again = must(mmap(p + page, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0));
			require(again == p + page && again[0] == 0, "a hole is filled with new memory");
		}
		must(munmap(p, bigger));
	}
	return NULL;
}

int main(void)
{
	pthread_t t[THREADS * 2];
	for (long i = 0; i < THREADS; i++) {
		require(!pthread_create(&t[2 * i], NULL, allocate, (void *)(i + 1)), "pthread_create");
		require(!pthread_create(&t[2 * i + 1], NULL, map, (void *)(i + 1)), "pthread_create");
	}
	/* Children inherit an allocator in the middle of its work. */
	for (int i = 0; i < 5; i++) {
		pid_t p = must(fork());
		if (p == 0) {
			char *m = malloc(100000);
			memset(m, 1, 100000);
			_exit(m[99999] == 1 ? 5 : 6);
		}
		observe("child %d: %s", i, reap(p));
	}
	for (int i = 0; i < THREADS * 2; i++)
		pthread_join(t[i], NULL);
	int left = 0;
	for (int i = 0; i < SLOTS; i++)
		if (shelf[i].p) {
			check(shelf[i]);
			free(shelf[i].p);
			left++;
		}
	observe("blocks handed over at the end: %d", left);
	return contract_end();
}
