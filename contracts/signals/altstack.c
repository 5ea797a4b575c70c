/*
 * signals/altstack: handlers on an alternate stack, also when the ordinary one has overflowed.
 *
 * Catches: frames pushed on the ordinary stack, SS_ONSTACK not reported or not kept, a stack overflow that kills despite a handler.
 */
#include "contract.h"
#include <setjmp.h>
#include <sys/resource.h>

static char stack[65536] __attribute__((aligned(16)));
static sigjmp_buf back;

static int on_alternate(void *p) { return (char *)p >= stack && (char *)p < stack + sizeof stack; }

static void handler(int s)
{
	stack_t ss;
	sigaltstack(NULL, &ss);
	observe("handler of %d: on the alternate stack %d, flags say %s", s, on_alternate(&ss), ss.ss_flags == SS_ONSTACK ? "SS_ONSTACK" : "not");
	stack_t other = { .ss_flags = SS_DISABLE };
	if (ss.ss_flags == SS_ONSTACK)
		fails(sigaltstack(&other, NULL), EPERM);
	if (s == SIGUSR1)
		raise(SIGUSR2);
	if (s == SIGSEGV)
		siglongjmp(back, 1);
}

__attribute__((noinline)) static int overflow(int n)
{
	volatile char frame[4096];
	frame[0] = n;
	frame[4095] = n;
	return n > 1000000 ? frame[0] : overflow(n + 1) + frame[4095];
}

int main(void)
{
	stack_t ss = { .ss_sp = stack, .ss_size = sizeof stack }, old;
	struct sigaction a = { .sa_handler = handler, .sa_flags = SA_ONSTACK };

	stack_t tiny = { .ss_sp = stack, .ss_size = 100 };
	fails(sigaltstack(&tiny, NULL), ENOMEM);
	stack_t odd = { .ss_sp = stack, .ss_size = sizeof stack, .ss_flags = 77 };
	fails(sigaltstack(&odd, NULL), EINVAL);
	must(sigaltstack(&ss, &old));
	observe("before: %s", old.ss_flags == SS_DISABLE ? "SS_DISABLE" : "a stack");
	sigaction(SIGUSR1, &a, NULL);
	sigaction(SIGUSR2, &a, NULL);
	sigaction(SIGSEGV, &a, NULL);
	raise(SIGUSR1);
	a.sa_flags = 0;
	sigaction(SIGUSR2, &a, NULL);
	raise(SIGUSR2);
	struct rlimit r = { 1 << 20, RLIM_INFINITY };
	setrlimit(RLIMIT_STACK, &r);
	if (sigsetjmp(back, 1) == 0)
		observe("overflow returned %d", overflow(0));
	else
		observe("overflow was caught");
	must(sigaltstack(NULL, &old));
	observe("afterwards: size kept %d, flags %d", old.ss_size == sizeof stack, old.ss_flags);
	pid_t p = must(fork());
	if (p == 0) {
		sigaltstack(NULL, &old);
		_exit(old.ss_sp == stack ? 0 : 1);
	}
	observe("a forked child keeps it: %s", reap(p));
	return contract_end();
}
