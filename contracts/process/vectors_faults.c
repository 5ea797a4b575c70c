/*
 * process/vectors_faults: a page fault leaves every vector register as it was.
 *
 * Catches: fault entries that save fewer registers than system-call entries; a copy-on-write or
 * zero-fill that runs through vector registers of the interrupted program.
 */
#include "vectors.h"
#include <sys/mman.h>

enum { PAGES = 64 };

int main(void)
{
	struct vectors in, out;
	long page = sysconf(_SC_PAGESIZE);
	char *m = must(mmap(NULL, PAGES * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));

	for (int i = 0; i < PAGES; i++) {
		vectors_pattern(&in, i);
		vectors_store(&in, &out, m + i * page + i);
		vectors_require(&in, &out, "first touch");
	}
	observe("first touch of %d pages: preserved", PAGES);

	pid_t p = must(fork());
	for (int i = 0; i < PAGES; i++) {
		vectors_pattern(&in, 100 + i);
		vectors_store(&in, &out, m + i * page + 1);
		vectors_require(&in, &out, p ? "copy on write, parent" : "copy on write, child");
	}
	if (p == 0)
		_exit(0);
	observe("copy on write: preserved, child %s", reap(p));

	int fd = must(open("file", O_RDWR | O_CREAT, 0600));
	must(ftruncate(fd, PAGES * page));
	char *f = must(mmap(NULL, PAGES * page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
	for (int i = 0; i < PAGES; i++) {
		vectors_pattern(&in, 200 + i);
		vectors_store(&in, &out, f + i * page);
		vectors_require(&in, &out, "file mapping");
	}
	observe("file mapping: preserved");
	return contract_end();
}
