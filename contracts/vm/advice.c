/*
 * vm/advice: madvise that changes contents, mincore that tells them, mlock.
 *
 * Catches: MADV_DONTNEED that keeps private pages or loses file pages, advice over holes that is not reported, DONTFORK ignored.
 */
#include "contract.h"
#include <sys/resource.h>

enum { PAGE = 4096 };

static void residency(const char *what, char *m, int n)
{
	unsigned char v[16];
	char s[17] = { 0 };
	must(mincore(m, n * PAGE, v));
	for (int i = 0; i < n; i++)
		s[i] = v[i] & 1 ? '1' : '0';
	observe("%s: %s", what, s);
}

int main(void)
{
	char *m = must(mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	madvise(m, 8 * PAGE, MADV_NOHUGEPAGE);
	m[0] = m[3 * PAGE] = m[4 * PAGE] = 1;
	residency("touched 0, 3, 4", m, 8);
	must(madvise(m + 3 * PAGE, PAGE, MADV_DONTNEED));
	residency("page 3 not needed", m, 8);
	observe("reads: %d %d", m[3 * PAGE], m[4 * PAGE]);
	require(m[3 * PAGE] == 0 && m[4 * PAGE] == 1, "private anonymous pages read zero afterwards");

	int fd = must(open("file", O_RDWR | O_CREAT, 0600));
	must(ftruncate(fd, 2 * PAGE));
	must(pwrite(fd, "disk", 4, 0));
	char *p = must(mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
	strcpy(p, "mine");
	must(madvise(p, PAGE, MADV_DONTNEED));
	observe("a private file page goes back to the file's: %.4s", p);
	char *s = must(mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
	strcpy(s + PAGE, "shared");
	must(madvise(s, 2 * PAGE, MADV_DONTNEED));
	observe("a shared file page stays: %s", s + PAGE);
	must(madvise(s, PAGE, MADV_REMOVE));
	observe("MADV_REMOVE punches the file: %d", s[0]);

	must(madvise(m, PAGE, MADV_DONTFORK));
	pid_t c = must(fork());
	if (c == 0) {
		unsigned char v;
		fails(mincore(m, PAGE, &v), ENOMEM);
		observe("the next page is there: %d", m[4 * PAGE]);
		_exit(0);
	}
	observe("child: %s", reap(c));
	must(madvise(m + 4 * PAGE, PAGE, MADV_WIPEONFORK));
	c = must(fork());
	if (c == 0)
		_exit(m[4 * PAGE]);
	observe("MADV_WIPEONFORK, child reads: %s", reap(c));

	must(munmap(m + 6 * PAGE, PAGE));
	fails(madvise(m + 5 * PAGE, 3 * PAGE, MADV_DONTNEED), ENOMEM);
	fails(madvise(m + 1, PAGE, MADV_DONTNEED), EINVAL);
	fails(madvise(m, PAGE, 12345), EINVAL);
	unsigned char v[8];
	fails(mincore(m + 5 * PAGE, 3 * PAGE, v), ENOMEM);
	fails(mincore(m + 1, PAGE, v), EINVAL);
	fails(mincore(m + PAGE, PAGE, (void *)8), EFAULT);
	must(mlock(m + PAGE, 2 * PAGE));
	residency("locked 1 and 2", m + PAGE, 2);
	must(munlock(m + PAGE, 2 * PAGE));
	fails(mlock(m + 6 * PAGE, PAGE), ENOMEM);
	return contract_end();
}
