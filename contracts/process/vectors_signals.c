/*
 * process/vectors_signals: a signal handler that destroys every vector register is not seen by
 * what it interrupted.
 *
 * Catches: signal frames without vector state, or without the upper halves; sigreturn that restores
 * the registers of another signal when handlers nest.
 */
#include "vectors.h"
#include <sys/time.h>

static volatile int handled;

static void destroy(int s)
{
	struct vectors junk, out;
	vectors_pattern(&junk, 90 + s);
	vectors_spin(&junk, &out, 1000);
	handled++;
	if (s == SIGUSR1 && handled < 100)
		raise(SIGUSR2); /* a frame upon the frame */
}

int main(void)
{
	struct vectors in, out;
	struct sigaction a = { .sa_handler = destroy };
	sigaction(SIGUSR1, &a, NULL);
	sigaction(SIGUSR2, &a, NULL);
	sigaction(SIGALRM, &a, NULL);
	sigaction(SIGSEGV, &a, NULL);

	for (unsigned i = 0; i < 20; i++) {
		vectors_pattern(&in, i);
		vectors_syscall(&in, &out, SYS_tgkill, getpid(), gettid(), SIGUSR1, 0);
		vectors_require(&in, &out, "signal at the end of a system call");
	}
	observe("handlers after tgkill, nested: %d, registers preserved", handled);

	handled = 0;
	struct itimerval often = { { 0, 2000 }, { 0, 2000 } }, never = { { 0, 0 }, { 0, 0 } };
	must(setitimer(ITIMER_REAL, &often, NULL));
	long long end = clock_ns(CLOCK_MONOTONIC) + 10000000000LL;
	for (unsigned i = 0; handled < 20 && clock_ns(CLOCK_MONOTONIC) < end; i++) {
		vectors_pattern(&in, i);
		vectors_spin(&in, &out, 200000);
		vectors_require(&in, &out, "signal in the middle of a loop");
	}
	must(setitimer(ITIMER_REAL, &never, NULL));
	require(handled >= 20, "the timer's signals arrive");
	observe("20 timer signals in the middle of loops: preserved");
	return contract_end();
}
