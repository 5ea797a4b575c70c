/*
 * vm/fork_advice: MADV_DONTFORK, MADV_WIPEONFORK, and mincore and msync of what is mapped.
 *
 * Catches: memory inherited that must not be, wiped in the parent, advice on mappings that cannot take it, residence of pages never touched.
 */
#include "contract.h"

static const char *touch(volatile char *p)
{
	pid_t c = must(fork());
	if (c == 0)
		_exit(*p);
	return reap(c);
}

int main(void)
{
	long ps = sysconf(_SC_PAGESIZE);
	unsigned char in[4];
	char *m = mmap(NULL, 4 * ps, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	m[0] = 1, m[ps] = 2, m[2 * ps] = 3;
	must(madvise(m + ps, ps, MADV_DONTFORK));
	must(madvise(m + 2 * ps, ps, MADV_WIPEONFORK));
	observe("child: %s, %s, %s", touch(m), touch(m + ps), touch(m + 2 * ps));
	observe("parent: %d %d %d", m[0], m[ps], m[2 * ps]);
	must(madvise(m + ps, ps, MADV_DOFORK));
	must(madvise(m + 2 * ps, ps, MADV_KEEPONFORK));
	observe("undone: %s, %s", touch(m + ps), touch(m + 2 * ps));
	char *shared = mmap(NULL, ps, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	fails(madvise(shared, ps, MADV_WIPEONFORK), EINVAL);
	fails(madvise(m + 1, ps, MADV_DONTFORK), EINVAL);
	fails(madvise(m, ps, 9999), EINVAL);
	/* A grandchild is wiped, too. */
	must(madvise(m + 2 * ps, ps, MADV_WIPEONFORK));
	pid_t c = must(fork());
	if (c == 0) {
		m[2 * ps] = 9;
		_exit(!strcmp(touch(m + 2 * ps), "exit 0") && m[2 * ps] == 9 ? 5 : 6);
	}
	observe("grandchild wiped, child not: %s", reap(c));
	/* mincore */
	must(mincore(m, 4 * ps, in));
	observe("resident: %d %d %d %d", in[0] & 1, in[1] & 1, in[2] & 1, in[3] & 1);
	fails(mincore(m + 1, ps, in), EINVAL);
	must(munmap(m + ps, ps));
	fails(mincore(m, 3 * ps, in), ENOMEM);
	fails(mincore(m, ps, (void *)8), EFAULT);
	must(mincore(m, 0, in));
	/* msync */
	int fd = must(open("f", O_CREAT | O_RDWR, 0600));
	must(ftruncate(fd, 2 * ps));
	char *f = mmap(NULL, 2 * ps, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	f[0] = 'x';
	must(msync(f, 2 * ps, MS_SYNC));
	char b = 0;
	must(pread(fd, &b, 1, 0));
	observe("seen in the file: %c", b);
	fails(msync(f, ps, MS_SYNC | MS_ASYNC), EINVAL);
	fails(msync(f + 1, ps, MS_SYNC), EINVAL);
	fails(msync(m, 3 * ps, MS_SYNC), ENOMEM);
	must(mincore(f, 2 * ps, in));
	observe("a touched page of a file: %d", in[0] & 1);
	/* MADV_DONTNEED: private memory is zero again, a file is read again. */
	must(madvise(m, ps, MADV_DONTNEED));
	observe("after DONTNEED: %d", m[0]);
	char *priv = mmap(NULL, ps, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	priv[0] = 'y';
	must(madvise(priv, ps, MADV_DONTNEED));
	observe("the file's: %c", priv[0]);
	return contract_end();
}
