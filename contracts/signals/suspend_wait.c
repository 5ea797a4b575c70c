/*
 * signals/suspend_wait: sigsuspend, sigwaitinfo, sigtimedwait: waiting for signals without races.
 *
 * Catches: a mask that is not restored, a signal that is consumed and handled as well, timeouts that do not end.
 */
#include "contract.h"

static volatile int ran;
static void handler(int s) { ran = s; }

int main(void)
{
	sigset_t block, empty, now;
	siginfo_t si;
	sigemptyset(&empty);
	sigemptyset(&block);
	sigaddset(&block, SIGUSR1);
	sigaddset(&block, SIGUSR2);
	sigprocmask(SIG_BLOCK, &block, NULL);
	signal(SIGUSR1, handler);
	signal(SIGUSR2, handler);

	kill(getpid(), SIGUSR1);
	observe("before sigsuspend: %d", ran);
	fails(sigsuspend(&empty), EINTR);
	sigprocmask(SIG_SETMASK, NULL, &now);
	observe("handled %d, mask restored %d", ran, sigismember(&now, SIGUSR1));
	require(ran == SIGUSR1 && sigismember(&now, SIGUSR1), "sigsuspend");

	ran = 0;
	sigqueue(getpid(), SIGUSR2, (union sigval){ .sival_int = 77 });
	int s = sigwaitinfo(&block, &si);
	observe("sigwaitinfo: %d, code %d, value %d, handler ran %d", s, si.si_code, si.si_value.sival_int, ran);
	require(s == SIGUSR2 && !ran, "consumed, not handled");

	struct timespec none = { 0, 0 }, some = { 0, 30000000 }, bad = { 0, 2000000000 };
	fails(sigtimedwait(&block, &si, &none), EAGAIN);
	long long t = clock_ns(CLOCK_MONOTONIC);
	fails(sigtimedwait(&block, &si, &some), EAGAIN);
	t = clock_ns(CLOCK_MONOTONIC) - t;
	require(t >= 30000000, "waits its time");
	fails(sigtimedwait(&block, &si, &bad), EINVAL);

	pid_t self = getpid(), p = must(fork());
	if (p == 0) {
		wait_until(asleep(self, self));
		kill(self, SIGUSR1);
		_exit(0);
	}
	s = sigwaitinfo(&block, &si);
	observe("from a child: %d, from it %d, handler ran %d", s, si.si_pid == p, ran);
	reap(p);

	/* A signal outside the set interrupts. */
	signal(SIGALRM, handler);
	p = must(fork());
	if (p == 0) {
		wait_until(asleep(self, self));
		kill(self, SIGALRM);
		_exit(0);
	}
	fails(syscall(SYS_rt_sigtimedwait, &block, &si, NULL, 8), EINTR);
	observe("handled: %d", ran);
	reap(p);
	return contract_end();
}
