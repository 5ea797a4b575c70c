/*
 * signals/delivery_order: which pending signals come first, and how many of them.
 *
 * Catches: standard signals that queue, real-time signals that do not or come in the wrong order, values of sigqueue lost.
 */
#include "contract.h"

static volatile int count, order[32], values[32], codes[32];

static void handler(int s, siginfo_t *si, void *c)
{
	(void)c;
	order[count] = s;
	values[count] = si->si_value.sival_int;
	codes[count++] = si->si_code;
}

int main(void)
{
	struct sigaction a = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO };
	sigset_t all, old, pending;
	sigfillset(&a.sa_mask);
	int used[] = { SIGUSR1, SIGUSR2, SIGRTMIN, SIGRTMIN + 1, SIGRTMAX };
	for (int i = 0; i < 5; i++)
		sigaction(used[i], &a, NULL);
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &old);

	for (int i = 0; i < 3; i++) {
		must(sigqueue(getpid(), SIGRTMIN + 1, (union sigval){ .sival_int = 10 + i }));
		must(sigqueue(getpid(), SIGRTMAX, (union sigval){ .sival_int = 20 + i }));
		must(sigqueue(getpid(), SIGRTMIN, (union sigval){ .sival_int = 30 + i }));
		must(kill(getpid(), SIGUSR2));
		must(sigqueue(getpid(), SIGUSR1, (union sigval){ .sival_int = 40 + i }));
	}
	sigpending(&pending);
	observe("pending: USR1 %d USR2 %d RTMIN %d HUP %d", sigismember(&pending, SIGUSR1), sigismember(&pending, SIGUSR2),
		sigismember(&pending, SIGRTMIN), sigismember(&pending, SIGHUP));
	sigprocmask(SIG_SETMASK, &old, NULL);
	for (int i = 0; i < count; i++)
		observe("handler: %s%+d value %d code %s", order[i] >= SIGRTMIN ? "RTMIN" : "signal", order[i] >= SIGRTMIN ? order[i] - SIGRTMIN : order[i],
			order[i] == SIGUSR2 ? 0 : values[i], codes[i] == SI_QUEUE ? "SI_QUEUE" : codes[i] == SI_USER ? "SI_USER" : "?");
	require(count == 11, "two standard signals once each, nine real-time signals");
	int last10 = 0;
	for (int i = 0; i < count; i++)
		if (order[i] == SIGRTMIN + 1) {
			require(values[i] == 10 + last10, "same signal: first in, first out");
			last10++;
		}
	return contract_end();
}
