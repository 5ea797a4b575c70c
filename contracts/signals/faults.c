/*
 * signals/faults: what a handler learns about a fault: signal, code, address.
 *
 * Catches: SIGSEGV for what is SIGBUS, SEGV_MAPERR and SEGV_ACCERR mixed up, addresses rounded to pages, faults in handlers
 * that loop instead of killing.
 */
#include "contract.h"
#include <setjmp.h>

static sigjmp_buf back;
static volatile int code, signo;
static void *volatile address;

static void handler(int s, siginfo_t *si, void *c)
{
	(void)c;
	signo = s;
	code = si->si_code;
	address = si->si_addr;
	siglongjmp(back, 1);
}

#define TRY(what, statement, want_signal, want_code, want_address) \
	do { \
		signo = 0; \
		if (sigsetjmp(back, 1) == 0) { \
			statement; \
		} \
		observe("%s: signal %d, code %d, address %s", what, signo, code, address == (void *)(want_address) ? "exact" : "other"); \
		require(signo == (want_signal) && code == (want_code), "%s", what); \
		require(address == (void *)(want_address), "%s: address %p", what, address); \
	} while (0)

int main(void)
{
	struct sigaction a = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO };
	sigaction(SIGSEGV, &a, NULL);
	sigaction(SIGBUS, &a, NULL);
	sigaction(SIGILL, &a, NULL);
	sigaction(SIGFPE, &a, NULL);
	sigaction(SIGTRAP, &a, NULL);
	char *readonly = must(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	char *none = must(mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	char *data = must(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	int fd = must(open("file", O_RDWR | O_CREAT, 0600));
	must(ftruncate(fd, 100));
	char *file = must(mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));

	TRY("read of address 16", (void)*(volatile char *)16, SIGSEGV, SEGV_MAPERR, 16);
	TRY("write of read-only memory", *(volatile char *)(readonly + 123) = 1, SIGSEGV, SEGV_ACCERR, readonly + 123);
	TRY("read of PROT_NONE", (void)*(volatile char *)(none + 7), SIGSEGV, SEGV_ACCERR, none + 7);
	TRY("execution of data", ((void (*)(void))(data + 64))(), SIGSEGV, SEGV_ACCERR, data + 64);
	TRY("jump to nowhere", ((void (*)(void))64)(), SIGSEGV, SEGV_MAPERR, 64);
	TRY("file mapping beyond the end", (void)*(volatile char *)(file + 4096 + 5), SIGBUS, BUS_ADRERR, file + 4096 + 5);
	file[50] = 1;
	observe("within the last page: fine");
#ifdef __x86_64__
	signo = 0;
	if (sigsetjmp(back, 1) == 0)
		(void)*(volatile char *)0x8000000000000000;
	observe("non-canonical address: signal %d", signo);
	require(signo == SIGSEGV, "a general protection fault is SIGSEGV");
	signo = 0;
	if (sigsetjmp(back, 1) == 0)
		__asm__ volatile("xor %%ecx, %%ecx\n\tmov $1, %%eax\n\tcltd\n\tidiv %%ecx" : : : "eax", "ecx", "edx", "cc");
	require(signo == SIGFPE && code == FPE_INTDIV, "division by zero");
#endif
	signo = 0;
	if (sigsetjmp(back, 1) == 0)
#ifdef __x86_64__
		__asm__ volatile("ud2");
#else
		__asm__ volatile(".inst 0x00000000");
#endif
	observe("illegal instruction: signal %d", signo);
	require(signo == SIGILL, "SIGILL");

	/* A fault while its signal is blocked kills. */
	pid_t p = must(fork());
	if (p == 0) {
		sigset_t s;
		sigemptyset(&s);
		sigaddset(&s, SIGSEGV);
		sigprocmask(SIG_BLOCK, &s, NULL);
		*(volatile char *)16 = 1;
		_exit(0);
	}
	observe("fault with SIGSEGV blocked: %s", reap(p));
	p = must(fork());
	if (p == 0) {
		signal(SIGSEGV, SIG_IGN);
		*(volatile char *)16 = 1;
		_exit(0);
	}
	observe("fault with SIGSEGV ignored: %s", reap(p));
	return contract_end();
}
