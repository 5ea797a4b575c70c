/*
 * vm/remap_forms: mremap that leaves the old place (MREMAP_DONTUNMAP), duplicates shared memory, and its refusals.
 *
 * Catches: pages left in both places or in neither, a mapping of length 0 duplicated though private, ranges that overlap.
 */
#include "contract.h"

int main(void)
{
	long ps = sysconf(_SC_PAGESIZE);
	char *m = mmap(NULL, 4 * ps, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (int i = 0; i < 4; i++)
		m[i * ps] = 'a' + i;
	char *n = mremap(m, 4 * ps, 4 * ps, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
	require(n != MAP_FAILED, "DONTUNMAP: %s", errno_name(errno));
	observe("moved %d: new %c%c%c%c, old still mapped and empty %d", n != m, n[0], n[ps], n[2 * ps], n[3 * ps], m[0] | m[3 * ps]);
	fails((long)mremap(m, 4 * ps, 8 * ps, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL), EINVAL);
	fails((long)mremap(m, 4 * ps, 4 * ps, MREMAP_DONTUNMAP, NULL), EINVAL);
	fails((long)mremap(m, 4 * ps, 4 * ps, MREMAP_FIXED, n), EINVAL);
	fails((long)mremap(m, 4 * ps, 4 * ps, MREMAP_MAYMOVE | MREMAP_FIXED, m + ps), EINVAL);
	fails((long)mremap(m + 1, ps, ps, MREMAP_MAYMOVE), EINVAL);
	fails((long)mremap(m, ps, 0, MREMAP_MAYMOVE), EINVAL);
	fails((long)mremap(m, ps, ps, 0x100), EINVAL);
	fails((long)mremap(m, 0, ps, MREMAP_MAYMOVE), EINVAL); /* private: nothing to duplicate */
	/* Shared memory can be mapped once more. */
	char *s = mmap(NULL, 2 * ps, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	s[0] = 'S';
	char *t = mremap(s, 0, 2 * ps, MREMAP_MAYMOVE);
	require(t != MAP_FAILED, "a second mapping: %s", errno_name(errno));
	t[ps] = 'T';
	observe("both see both: %c %c", t[0], s[ps]);
	/* In place, shrinking, growing. */
	char *r = mmap(NULL, 8 * ps, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset(r, 'r', 8 * ps);
	observe("shrunk in place: %d", mremap(r, 8 * ps, 3 * ps, 0) == r);
	unsigned char in[8];
	fails(mincore(r + 3 * ps, ps, in), ENOMEM);
	observe("grown in place: %d, new memory %d", mremap(r, 3 * ps, 5 * ps, 0) == r, r[4 * ps]);
	void *block = mmap(r + 5 * ps, ps, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	require(block == r + 5 * ps, "a block behind it");
	fails((long)mremap(r, 5 * ps, 6 * ps, 0), ENOMEM);
	char *q = mremap(r, 5 * ps, 6 * ps, MREMAP_MAYMOVE);
	observe("moved to grow: %d, contents %c, old gone %s", q != r, q[2 * ps], ok(mincore(r, ps, in)));
	/* Over something else. */
	char *over = mmap(NULL, 6 * ps, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	observe("over another mapping: %d, contents %c", mremap(q, 6 * ps, 6 * ps, MREMAP_MAYMOVE | MREMAP_FIXED, over) == over, over[2 * ps]);
	over[0] = 'w';
	fails((long)mremap(over, 7 * ps, 8 * ps, MREMAP_MAYMOVE), EFAULT);
	fails((long)mremap((void *)(ps * 16), ps, ps, MREMAP_MAYMOVE), EFAULT);
	return contract_end();
}
