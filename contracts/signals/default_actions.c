/*
 * signals/default_actions: what each signal does to a process that has no handler.
 *
 * Catches: signals with the wrong default: terminate, ignore, stop.
 */
#include "contract.h"

int main(void)
{
	for (int s = 1; s < 65; s++) {
		if (s == 32 || s == 33) /* the C library keeps them */
			continue;
		pid_t p = must(fork());
		if (p == 0) {
			signal(s, SIG_DFL);
			kill(getpid(), s);
			_exit(0);
		}
		int st;
		require(waitpid(p, &st, WUNTRACED) == p, "wait");
		if (WIFSTOPPED(st)) {
			observe("%d: stops by %d", s, WSTOPSIG(st));
			kill(p, SIGKILL);
			reap(p);
		} else if (WIFSIGNALED(st)) {
			observe("%d: terminates by %d", s, WTERMSIG(st));
		} else {
			observe("%d: nothing", s);
		}
	}
	return contract_end();
}
