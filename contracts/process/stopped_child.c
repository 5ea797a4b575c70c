/*
 * process/stopped_child: the end of one child, while another is stopped, is no hangup for their process group.
 *
 * Catches: SIGHUP for a process group that was an orphan all along (its session's leader is in it), whenever a member ends.
 */
#include "contract.h"

int main(void)
{
	int st;
	must(setsid() >= 0 || getpid() == getsid(0) ? 0 : -1);
	pid_t stopped = must(fork());
	if (stopped == 0)
		for (;;)
			pause();
	must(kill(stopped, SIGSTOP));
	must(waitpid(stopped, &st, WUNTRACED));
	observe("stopped: %d", WIFSTOPPED(st) != 0);
	for (int i = 0; i < 3; i++) {
		pid_t p = must(fork());
		if (p == 0)
			_exit(i);
		observe("child %d: %s", i, reap(p));
	}
	observe("the stopped one changed: %d", waitpid(stopped, &st, WNOHANG | WUNTRACED | WCONTINUED));
	must(kill(stopped, SIGKILL));
	observe("killed: %s", reap(stopped));
	return contract_end();
}
