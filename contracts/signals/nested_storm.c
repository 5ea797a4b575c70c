/*
 * signals/nested_storm: thousands of signals from another process, none lost among real-time ones, registers and stack intact.
 *
 * Catches: lost wake-ups between delivery and return to user mode, frames that overlap, a queue that drops below its limit.
 */
#include "contract.h"

static volatile int count, sum;
static void handler(int s, siginfo_t *si, void *c)
{
	(void)s, (void)c;
	// With SA_NODEFER the handler interrupts itself, so its additions must not be torn.
	__atomic_fetch_add(&count, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&sum, si->si_value.sival_int, __ATOMIC_RELAXED);
}

enum { SIGNALS = 1500 };

int main(void)
{
	struct sigaction a = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_NODEFER };
	sigaction(SIGRTMIN + 2, &a, NULL);
	pid_t self = getpid(), p = must(fork());
	if (p == 0) {
		for (int i = 1; i <= SIGNALS; i++)
			while (sigqueue(self, SIGRTMIN + 2, (union sigval){ .sival_int = i }) < 0)
				if (errno != EAGAIN)
					_exit(1);
				else
					usleep(100);
		_exit(0);
	}
	volatile double x = 1;
	long long end = clock_ns(CLOCK_MONOTONIC) + 15000000000LL;
	while (count < SIGNALS && clock_ns(CLOCK_MONOTONIC) < end) {
		char check[64];
		memset(check, 0x5a, sizeof check);
		for (int i = 0; i < 1000; i++)
			x = x * 1.0000001 + 0.5;
		for (int i = 0; i < 64; i++)
			require(check[i] == 0x5a, "the stack below a handler is the program's");
	}
	observe("sender: %s, handled %d, sum %d", reap(p), count, sum);
	require(count == SIGNALS && sum == SIGNALS * (SIGNALS + 1) / 2, "every one, once");
	return contract_end();
}
