/*
 * vm/protection: mprotect over parts of mappings.
 *
 * Catches: stale translations after a page lost its permission, splits that change neighbours, system calls that write what the
 * program may not.
 */
#include "contract.h"
#include <setjmp.h>

enum { PAGE = 4096 };
static sigjmp_buf back;
static void handler(int s) { siglongjmp(back, s); }

static const char *store(volatile char *p)
{
	if (sigsetjmp(back, 1))
		return "fault";
	*p = 9;
	return "ok";
}

static const char *load(volatile char *p)
{
	if (sigsetjmp(back, 1))
		return "fault";
	(void)*p;
	return "ok";
}

int main(void)
{
	signal(SIGSEGV, handler);
	char *m = must(mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	memset(m, 1, 8 * PAGE);
	must(mprotect(m + 2 * PAGE, 3 * PAGE, PROT_READ));
	must(mprotect(m + 3 * PAGE, PAGE, PROT_NONE));
	for (int i = 0; i < 8; i++)
		observe("page %d: load %s, store %s", i, load(m + i * PAGE), store(m + i * PAGE));
	int zero = must(open("/dev/zero", O_RDONLY));
	fails(read(zero, m + 2 * PAGE, 10), EFAULT);
	fails(read(zero, m + 3 * PAGE, 10), EFAULT);
	observe("read up to the border: %s", result(read(zero, m + PAGE, 3 * PAGE)));
	must(mprotect(m, 8 * PAGE, PROT_READ | PROT_WRITE));
	int ones = 0;
	for (int i = 0; i < 8; i++)
		ones += m[i * PAGE + 100] == 1;
	observe("all writable again; pages with their contents: %d", ones);
	require(!strcmp(store(m + 3 * PAGE), "ok"), "permission comes back");

	must(munmap(m + 6 * PAGE, PAGE));
	fails(mprotect(m + 5 * PAGE, 3 * PAGE, PROT_READ), ENOMEM);
	observe("before the hole: store %s", store(m + 5 * PAGE));
	fails(syscall(SYS_mprotect, m + 1, PAGE, PROT_READ), EINVAL);
	fails(mprotect(m, PAGE, 0x100), EINVAL);
	observe("length 0: %s", result(mprotect(m, 0, PROT_READ)));

	int fd = must(open("file", O_RDWR | O_CREAT, 0600));
	must(ftruncate(fd, PAGE));
	int ro = must(open("file", O_RDONLY));
	char *shared = must(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, ro, 0));
	fails(mprotect(shared, PAGE, PROT_READ | PROT_WRITE), EACCES);
	fails(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, ro, 0), EACCES);
	int wo = must(open("file", O_WRONLY));
	fails(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, wo, 0), EACCES);
	char *private = must(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, ro, 0));
	observe("a private mapping of a read-only file becomes writable: %s, store %s", result(mprotect(private, PAGE, PROT_READ | PROT_WRITE)), store(private));
	char c = 5;
	pread(fd, &c, 1, 0);
	observe("the file is untouched: %d", c);

	/* Code: written, then executed. */
#ifdef __x86_64__
	static const unsigned char code[] = { 0xb8, 42, 0, 0, 0, 0xc3 };
#else
	static const unsigned char code[] = { 0x40, 0x05, 0x80, 0x52, 0xc0, 0x03, 0x5f, 0xd6 };
#endif
	memcpy(m, code, sizeof code);
	__builtin___clear_cache(m, m + sizeof code);
	must(mprotect(m, PAGE, PROT_READ | PROT_EXEC));
	observe("generated code answers %d", ((int (*)(void))m)());
	observe("and is not writable: %s", store(m));
	return contract_end();
}
