/*
 * process/groups_sessions: setpgid, setsid and what they refuse.
 *
 * Catches: groups across sessions, a leader that starts a session, changes of a child that has executed.
 */
#include "contract.h"

int main(int argc, char **argv)
{
	if (argc > 1) {
		write(9, "x", 1);
		pause();
		return 0;
	}
	observe("started as leader: session %d, group %d", getsid(0) == getpid(), getpgrp() == getpid());
	fails(setsid(), EPERM);
	fails(setpgid(0, 0), EPERM); /* a session leader keeps its group */
	fails(setpgid(-1, 0), EINVAL);
	fails(setpgid(0, -1), EINVAL);
	fails(setpgid(0, 999999), EPERM);
	fails(setpgid(999999, 0), ESRCH);
	fails(getpgid(999999), ESRCH);
	fails(getsid(999999), ESRCH);
	fails(getpgid(-1), ESRCH);

	int up[2];
	char c;
	must(pipe(up));
	pid_t p = must(fork());
	if (p == 0) {
		require(getpgrp() == getppid() || getpgrp() != getpid(), "a child is in its parent's group");
		require(setsid() == getpid(), "a member may start a session");
		require(getsid(0) == getpid() && getpgrp() == getpid(), "it leads both");
		write(up[1], "x", 1);
		pause();
	}
	read(up[0], &c, 1);
	fails(setpgid(p, getpgrp()), EPERM); /* another session */
	kill(p, SIGKILL);
	observe("session leader: %s", reap(p));

	p = must(fork());
	if (p == 0) {
		char *args[] = { argv[0], "again", NULL };
		dup2(up[1], 9);
		execv("/proc/self/exe", args);
		_exit(1);
	}
	read(up[0], &c, 1);
	fails(setpgid(p, p), EACCES); /* it has executed */
	kill(p, SIGKILL);
	observe("executed child: %s", reap(p));

	p = must(fork());
	if (p == 0) {
		pause();
		_exit(0);
	}
	must(setpgid(p, p));
	pid_t q = must(fork());
	if (q == 0) {
		must(setpgid(0, p));
		write(up[1], "x", 1);
		pause();
	}
	read(up[0], &c, 1);
	observe("two in one group: %d", getpgid(p) == p && getpgid(q) == p);
	must(kill(-p, SIGTERM));
	observe("both got the signal: %s, %s", reap(p), reap(q));
	fails(kill(-p, 0), ESRCH);
	return contract_end();
}
