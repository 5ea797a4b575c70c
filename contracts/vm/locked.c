/*
 * vm/locked: mlock and its kin, and RLIMIT_MEMLOCK.
 *
 * Catches: limits that are not kept or count twice, locks inherited by children, holes that are not told, MCL_FUTURE ignored.
 */
#include "contract.h"
#include <sys/resource.h>

static int locked(void)
{
	char line[256];
	int kb = -1;
	FILE *f = fopen("/proc/self/status", "r");
	while (f && fgets(line, sizeof line, f))
		sscanf(line, "VmLck: %d", &kb);
	fclose(f);
	return kb;
}

int main(void)
{
	char *m = must(mmap(NULL, 16 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	unsigned char in[16];
	observe("at first: %d kB", locked());
	must(mlock(m + 100, 4096));
	must(mincore(m, 4 * 4096, in));
	observe("two pages: %d kB, in memory %d %d %d", locked(), in[0] & 1, in[1] & 1, in[2] & 1);
	must(mlock(m, 4096));
	observe("once more: %d kB", locked());
	fails(madvise(m, 4096, MADV_DONTNEED), EINVAL);
	must(syscall(SYS_mlock2, m + 8 * 4096, 4096, 1));
	must(mincore(m + 8 * 4096, 4096, in));
	observe("on fault: %d kB, in memory %d", locked(), in[0] & 1);
	fails(syscall(SYS_mlock2, m, 4096, 2), EINVAL);
	pid_t p = must(fork());
	if (p == 0)
		_exit(locked());
	observe("not inherited: %s", reap(p));
	must(munlock(m, 16 * 4096));
	observe("unlocked: %d kB", locked());
	must(munmap(m + 4 * 4096, 4096));
	fails(mlock(m + 3 * 4096, 3 * 4096), ENOMEM);
	observe("up to the hole: %d kB", locked());
	must(munlockall());
	observe("all unlocked: %d kB", locked());
	fails(mlockall(0), EINVAL);
	fails(mlockall(8), EINVAL);
	fails(mlockall(4), EINVAL);
	must(mlockall(MCL_FUTURE));
	char *n = must(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	must(mincore(n, 4096, in));
	observe("future: %d kB, in memory %d", locked(), in[0] & 1);
	must(munlockall());
	observe("mapped locked: %d", mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0) != MAP_FAILED);
	observe("now: %d kB", locked());
	must(munlockall());

	p = must(fork());
	if (p == 0) {
		struct rlimit l = { 3 * 4096, 3 * 4096 };
		must(setrlimit(RLIMIT_MEMLOCK, &l));
		must(setuid(1000));
		must(mlock(m, 3 * 4096));
		fails(mlock(m + 8 * 4096, 4096), ENOMEM);
		observe("the same pages: %s", result(mlock(m + 4096, 2 * 4096)));
		must(munlock(m, 4096));
		observe("one is free: %s", result(mlock(m + 8 * 4096, 4096)));
		void *r = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0);
		observe("MAP_LOCKED: %s", r == MAP_FAILED ? errno_name(errno) : "ok");
		fails(mlockall(MCL_CURRENT), ENOMEM);
		must(munlockall());
		l = (struct rlimit){ 0, 0 };
		must(setrlimit(RLIMIT_MEMLOCK, &l));
		fails(mlock(m, 1), EPERM);
		fails(mlockall(MCL_FUTURE), EPERM);
		r = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0);
		observe("MAP_LOCKED: %s", r == MAP_FAILED ? errno_name(errno) : "ok");
		_exit(0);
	}
	observe("unprivileged: %s", reap(p));
	return contract_end();
}
