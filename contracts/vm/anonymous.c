/*
 * vm/anonymous: anonymous memory is zero, private or shared, and gone after munmap.
 *
 * Catches: pages that show old contents, holes punched by munmap that stay mapped, neighbours lost with them.
 */
#include "contract.h"

enum { PAGE = 4096 };

static int mapped(void *p)
{
	unsigned char v;
	return mincore(p, PAGE, &v) == 0;
}

int main(void)
{
	char *m = must(mmap(NULL, 10 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	int nonzero = 0;
	for (int i = 0; i < 10 * PAGE; i++)
		nonzero += m[i] != 0;
	observe("bytes that are not zero: %d; aligned: %d", nonzero, (uintptr_t)m % PAGE == 0);
	memset(m, 1, 10 * PAGE);
	must(munmap(m + 3 * PAGE, 2 * PAGE));
	for (int i = 0; i < 10; i++)
		observe("page %d: %s", i, mapped(m + i * PAGE) ? "mapped" : "not mapped");
	require(m[2 * PAGE] == 1 && m[5 * PAGE] == 1, "neighbours stay");
	fails(write(must(open("/dev/zero", O_RDONLY)), m, 1), EBADF);
	int p[2];
	must(pipe(p));
	fails(write(p[1], m + 3 * PAGE, 10), EFAULT);
	char *again = must(mmap(m + 3 * PAGE, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	observe("the hole is used again when hinted: %d, and is zero: %d", again == m + 3 * PAGE, again[0] == 0 && again[2 * PAGE - 1] == 0);

	fails(mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), EINVAL);
	fails(mmap(NULL, PAGE, PROT_READ, MAP_ANONYMOUS, -1, 0), EINVAL);
	fails(mmap((void *)1, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0), EINVAL);
	fails(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, 99, 0), EBADF);
	fails(mmap(NULL, ~0UL - PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), ENOMEM);
	fails(munmap(m + 1, PAGE), EINVAL);
	fails(munmap(m, 0), EINVAL);
	fails(mmap(m, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0), EEXIST);
	m[0] = 77;
	char *f = must(mmap(m, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	observe("MAP_FIXED replaces: same place %d, zero %d", f == m, f[0] == 0);
	require(f == m && f[0] == 0, "MAP_FIXED");
	return contract_end();
}
