/*
 * process/exit_status: what a parent learns about its child's end.
 *
 * Catches: an exit status that is not cut to eight bits, a signal's number lost or reported as an
 * exit, and a wait that answers a child twice.
 */
#include "contract.h"

int main(void)
{
	static const int codes[] = { 0, 1, 42, 127, 128, 255, 256, 257, -1 };
	static const int signals[] = { SIGHUP, SIGKILL, SIGSEGV, SIGTERM, SIGUSR1, SIGALRM };

	for (unsigned i = 0; i < sizeof codes / sizeof *codes; i++) {
		pid_t p = must(fork());
		if (p == 0)
			_exit(codes[i]);
		int st;
		require(waitpid(p, &st, 0) == p, "waitpid must answer the child");
		observe("_exit(%d): exited %d, status %d", codes[i], WIFEXITED(st), WEXITSTATUS(st));
		require(WIFEXITED(st) && WEXITSTATUS(st) == (codes[i] & 255), "the low eight bits arrive");
		fails(waitpid(p, &st, 0), ECHILD);
	}
	for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++) {
		pid_t p = must(fork());
		if (p == 0) {
			signal(signals[i], SIG_DFL);
			kill(getpid(), signals[i]);
			for (;;)
				pause();
		}
		int st;
		require(waitpid(p, &st, 0) == p, "waitpid must answer the child");
		observe("signal %d: exited %d, signaled %d, signal %d", signals[i], WIFEXITED(st), WIFSIGNALED(st), WTERMSIG(st));
		require(WIFSIGNALED(st) && WTERMSIG(st) == signals[i], "the signal's number arrives");
	}
	fails(wait(NULL), ECHILD);
	return contract_end();
}
