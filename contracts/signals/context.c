/*
 * signals/context: a handler may change the registers of what it interrupted.
 *
 * Catches: sigreturn that ignores the context, a context that does not show the interrupted registers.
 */
#include "contract.h"
#include <ucontext.h>

static volatile int skipped;

static void handler(int s, siginfo_t *si, void *context)
{
	ucontext_t *u = context;
	(void)s, (void)si;
	skipped++;
#ifdef __x86_64__
	u->uc_mcontext.gregs[REG_RIP] += 2; /* ud2 */
	u->uc_mcontext.gregs[REG_RBX] += 5;
#else
	u->uc_mcontext.pc += 4;
	u->uc_mcontext.regs[20] += 5;
#endif
	sigaddset(&u->uc_sigmask, SIGUSR2); /* the mask to return to */
}

int main(void)
{
	struct sigaction a = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO };
	sigset_t mask;
	long value;
	sigaction(SIGILL, &a, NULL);
#ifdef __x86_64__
	__asm__ volatile("mov $37, %%rbx\n\tud2\n\tmov %%rbx, %0" : "=r"(value) : : "rbx");
#else
	__asm__ volatile("mov x20, #37\n\t.inst 0\n\tmov %0, x20" : "=r"(value) : : "x20");
#endif
	sigprocmask(SIG_SETMASK, NULL, &mask);
	observe("skipped %d, register %ld, USR2 blocked %d", skipped, value, sigismember(&mask, SIGUSR2));
	require(skipped == 1 && value == 42, "the context is what is returned to");
	require(sigismember(&mask, SIGUSR2) == 1, "the mask of the context, too");
	return contract_end();
}
