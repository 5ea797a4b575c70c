/*
 * process/orphans: who is the parent of those whose parent ended.
 *
 * Catches: orphans without a parent, subreapers ignored, PDEATHSIG not sent, a zombie that is reaped by nobody.
 */
#include "contract.h"
#include <sys/prctl.h>

int main(void)
{
	int up[2];
	char c = 0;
	must(pipe(up));
	pid_t self = getpid();

	pid_t p = must(fork());
	if (p == 0) {
		if (must(fork()) == 0) {
			pid_t parent = getppid();
			(void)parent;
			wait_until(getppid() == 1);
			write(up[1], "1", 1);
			_exit(0);
		}
		_exit(0);
	}
	observe("parent: %s", reap(p));
	read(up[0], &c, 1);
	observe("an orphan's parent is process %c", c);

	must(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0));
	int on = 0;
	must(prctl(PR_GET_CHILD_SUBREAPER, &on, 0, 0, 0));
	observe("subreaper: %d", on);
	p = must(fork());
	if (p == 0) {
		if (must(fork()) == 0) {
			wait_until(getppid() == self);
			_exit(9);
		}
		_exit(2);
	}
	observe("parent: %s", reap(p));
	int st;
	pid_t q = waitpid(-1, &st, 0);
	require(q > 0 && q != p, "the subreaper gets the orphan");
	observe("orphan reaped by the subreaper: exit %d", WEXITSTATUS(st));

	p = must(fork());
	if (p == 0) {
		sigset_t s;
		sigemptyset(&s);
		sigaddset(&s, SIGUSR1);
		sigprocmask(SIG_BLOCK, &s, NULL);
		if (must(fork()) == 0) {
			must(prctl(PR_SET_PDEATHSIG, SIGUSR1, 0, 0, 0));
			write(up[1], "r", 1);
			int sig = 0;
			sigwait(&s, &sig);
			_exit(sig == SIGUSR1 ? 11 : 12);
		}
		read(up[0], &c, 1);
		_exit(0);
	}
	observe("parent: %s", reap(p));
	wait(&st);
	observe("child that asked for a signal at its parent's death: exit %d", WEXITSTATUS(st));
	require(WEXITSTATUS(st) == 11, "PDEATHSIG arrives");
	return contract_end();
}
