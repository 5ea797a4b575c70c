/*
 * signals/mask: sigprocmask in its forms; what cannot be blocked; masks belong to threads.
 *
 * Catches: SIGKILL blocked, a pending signal lost when it is unblocked, masks shared between threads.
 */
#include "contract.h"
#include <pthread.h>

static volatile int ran;
static void handler(int s) { (void)s; ran++; }

static void *thread(void *x)
{
	sigset_t m, all;
	sigprocmask(SIG_SETMASK, NULL, &m);
	observe("a new thread inherits: USR1 %d", sigismember(&m, SIGUSR1));
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	return x;
}

int main(void)
{
	sigset_t m, old;
	pthread_t t;
	signal(SIGUSR1, handler);
	sigfillset(&m);
	must(sigprocmask(SIG_SETMASK, &m, NULL));
	must(sigprocmask(SIG_SETMASK, NULL, &old));
	observe("all blocked: TERM %d KILL %d STOP %d", sigismember(&old, SIGTERM), sigismember(&old, SIGKILL), sigismember(&old, SIGSTOP));
	sigemptyset(&m);
	sigaddset(&m, SIGUSR2);
	must(sigprocmask(SIG_SETMASK, &m, NULL));
	sigemptyset(&m);
	sigaddset(&m, SIGUSR1);
	must(sigprocmask(SIG_BLOCK, &m, &old));
	observe("before: USR1 %d USR2 %d", sigismember(&old, SIGUSR1), sigismember(&old, SIGUSR2));
	fails(sigprocmask(42, &m, NULL), EINVAL);

	raise(SIGUSR1);
	raise(SIGUSR1);
	observe("blocked: ran %d", ran);
	pthread_create(&t, NULL, thread, NULL);
	pthread_join(t, NULL);
	must(sigprocmask(SIG_SETMASK, NULL, &old));
	observe("after the thread blocked all: TERM %d", sigismember(&old, SIGTERM));
	require(!sigismember(&old, SIGTERM), "masks are a thread's own");
	must(sigprocmask(SIG_UNBLOCK, &m, NULL));
	observe("unblocked: ran %d", ran);
	require(ran == 1, "once, at once");

	/* Discarded when ignored while blocked. */
	sigprocmask(SIG_BLOCK, &m, NULL);
	raise(SIGUSR1);
	signal(SIGUSR1, SIG_IGN);
	sigpending(&old);
	observe("pending after ignoring: %d", sigismember(&old, SIGUSR1));
	signal(SIGUSR1, handler);
	sigprocmask(SIG_UNBLOCK, &m, NULL);
	observe("ran %d", ran);
	require(ran == 1, "ignoring discards what is pending");
	return contract_end();
}
