/*
 * signals/handler_flags: SA_RESETHAND, SA_NODEFER, sa_mask, SA_SIGINFO and what sigaction answers.
 *
 * Catches: a handler interrupted by its own signal, a mask that stays after the handler, one-shot handlers that stay.
 */
#include "contract.h"

static volatile int depth, deepest, runs;

static void nest(int s)
{
	runs++;
	if (++depth > deepest)
		deepest = depth;
	if (runs < 4)
		raise(s);
	depth--;
}

static volatile int saw_usr2, usr2_inside;

static void usr2(int s) { (void)s; saw_usr2 = 1; }

static void masked(int s)
{
	(void)s;
	raise(SIGUSR2);
	usr2_inside = saw_usr2;
}

static void info(int s, siginfo_t *si, void *c)
{
	observe("siginfo: signo %d, same %d, pid %s, uid %d, context %s", si->si_signo, si->si_signo == s, si->si_pid == getpid() ? "self" : "other", si->si_uid, c ? "there" : "missing");
}

int main(void)
{
	struct sigaction a = { .sa_handler = nest }, old;
	sigset_t mask;

	sigaction(SIGUSR1, &a, NULL);
	raise(SIGUSR1);
	observe("without flags: %d runs, depth %d", runs, deepest);
	require(deepest == 1, "a signal is blocked while its handler runs");
	runs = deepest = 0;
	a.sa_flags = SA_NODEFER;
	sigaction(SIGUSR1, &a, &old);
	raise(SIGUSR1);
	observe("SA_NODEFER: %d runs, depth %d", runs, deepest);
	require(deepest == 4, "SA_NODEFER nests");

	a = (struct sigaction){ .sa_handler = nest, .sa_flags = SA_RESETHAND };
	sigaction(SIGUSR1, &a, NULL);
	runs = 10;
	raise(SIGUSR1);
	sigaction(SIGUSR1, NULL, &old);
	observe("SA_RESETHAND: then %s", old.sa_handler == SIG_DFL ? "default" : "still a handler");
	require(old.sa_handler == SIG_DFL, "one shot");

	a = (struct sigaction){ .sa_handler = masked };
	sigaddset(&a.sa_mask, SIGUSR2);
	sigaction(SIGUSR1, &a, NULL);
	signal(SIGUSR2, usr2);
	raise(SIGUSR1);
	observe("sa_mask: inside %d, after %d", usr2_inside, saw_usr2);
	require(!usr2_inside && saw_usr2, "sa_mask defers until the handler returns");
	sigprocmask(SIG_SETMASK, NULL, &mask);
	observe("mask after handlers: USR1 %d USR2 %d", sigismember(&mask, SIGUSR1), sigismember(&mask, SIGUSR2));

	a = (struct sigaction){ .sa_sigaction = info, .sa_flags = SA_SIGINFO | SA_RESTART };
	sigaction(SIGUSR1, &a, NULL);
	kill(getpid(), SIGUSR1);
	sigaction(SIGUSR1, NULL, &old);
	observe("read back: siginfo %d restart %d nodefer %d, handler %s", !!(old.sa_flags & SA_SIGINFO), !!(old.sa_flags & SA_RESTART), !!(old.sa_flags & SA_NODEFER), old.sa_sigaction == info ? "same" : "other");
	fails(sigaction(SIGKILL, &a, NULL), EINVAL);
	fails(sigaction(SIGSTOP, &a, NULL), EINVAL);
	observe("reading SIGKILL's: %s", result(sigaction(SIGKILL, NULL, &old)));
	fails(syscall(SYS_rt_sigaction, 65, NULL, NULL, 8), EINVAL);
	fails(syscall(SYS_rt_sigaction, SIGUSR1, NULL, NULL, 4), EINVAL);
	return contract_end();
}
