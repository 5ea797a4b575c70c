/*
 * vm/mremap: mappings that grow, shrink and move keep their contents.
 *
 * Catches: contents lost or doubled by a move, the old place still mapped, growth into a neighbour.
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
	char *area = must(mmap(NULL, 64 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	must(munmap(area, 64 * PAGE));
	char *m = must(mmap(area, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	for (int i = 0; i < 4; i++)
		m[i * PAGE] = i + 1;
	char *r = must(mremap(m, 4 * PAGE, 8 * PAGE, 0));
	observe("grown in place: %d, contents %d %d, new %d", r == m, r[0], r[3 * PAGE], r[7 * PAGE]);
	r = must(mremap(m, 8 * PAGE, 2 * PAGE, 0));
	observe("shrunk in place: %d, page 2 %s", r == m, mapped(m + 2 * PAGE) ? "mapped" : "not mapped");

	char *wall = must(mmap(m + 2 * PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	(void)wall;
	fails(mremap(m, 2 * PAGE, 4 * PAGE, 0), ENOMEM);
	r = must(mremap(m, 2 * PAGE, 4 * PAGE, MREMAP_MAYMOVE));
	observe("moved: %d, contents %d %d, new %d, old place %s", r != m, r[0], r[PAGE], r[3 * PAGE], mapped(m) ? "mapped" : "not mapped");
	char *to = area + 32 * PAGE;
	char *f = must(mremap(r, 4 * PAGE, 3 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to));
	observe("to a fixed place: %d, contents %d %d, old place %s", f == to, f[0], f[PAGE], mapped(r) ? "mapped" : "not mapped");
	char *keep = (char *)must(syscall(SYS_mremap, f, 3 * PAGE, 3 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, 0));
	observe("DONTUNMAP: new %d, old reads %d", keep[0], f[0]);
	require(keep[0] == 1 && f[0] == 0, "the old place stays, empty");

	int fd = must(open("file", O_RDWR | O_CREAT, 0600));
	must(ftruncate(fd, 4 * PAGE));
	char *s = must(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, PAGE));
	strcpy(s, "file");
	s = must(mremap(s, PAGE, 3 * PAGE, MREMAP_MAYMOVE));
	strcpy(s + 2 * PAGE, "last");
	char b[5] = { 0 };
	pread(fd, b, 4, 3 * PAGE);
	observe("a shared file mapping grows: %s %s", s, b);
	char *twin = must(mremap(s, 0, PAGE, MREMAP_MAYMOVE));
	strcpy(twin, "twin");
	observe("old size 0 makes a twin of a shared mapping: %s", s);

	fails(mremap(keep + 1, PAGE, PAGE, 0), EINVAL);
	fails(mremap(keep, PAGE, 0, 0), EINVAL);
	fails(mremap(keep, PAGE, PAGE, 0x80), EINVAL);
	fails(mremap(area, PAGE, 2 * PAGE, MREMAP_MAYMOVE), EFAULT);
	fails(mremap(keep, 2 * PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, keep + PAGE), EINVAL);
	fails(mremap(keep, PAGE, PAGE, MREMAP_FIXED, to), EINVAL);
	return contract_end();
}
