/*
 * process/wait_forms: which child wait answers, and what with WNOHANG, WNOWAIT, WUNTRACED and WCONTINUED.
 *
 * Catches: waits by group or pid that take another child, WNOWAIT that reaps, stop and continue reported twice or never.
 */
#include "contract.h"

static pid_t stopping_child(pid_t group)
{
	pid_t p = must(fork());
	if (p == 0) {
		setpgid(0, group);
		for (;;)
			pause();
	}
	setpgid(p, group ? group : p);
	return p;
}

int main(void)
{
	siginfo_t si;
	int st;

	fails(waitpid(-1, &st, WNOHANG), ECHILD);
	fails(waitpid(-1, &st, 0x4000), EINVAL);
	fails(waitid(P_ALL, 0, &si, 0), EINVAL);

	pid_t a = stopping_child(0), b = stopping_child(0);
	observe("WNOHANG with running children: %s", result(waitpid(-1, &st, WNOHANG)));
	memset(&si, 1, sizeof si);
	observe("waitid WNOHANG: %s, si_pid %d, si_signo %d", result(waitid(P_ALL, 0, &si, WEXITED | WNOHANG)), si.si_pid, si.si_signo);
	fails(waitpid(-getpgrp(), &st, WNOHANG), ECHILD);

	kill(a, SIGSTOP);
	require(waitpid(a, &st, WUNTRACED) == a && WIFSTOPPED(st), "stop is reported");
	observe("stopped by %d", WSTOPSIG(st));
	observe("again: %s", result(waitpid(a, &st, WUNTRACED | WNOHANG)));
	kill(a, SIGCONT);
	require(waitpid(a, &st, WCONTINUED) == a && WIFCONTINUED(st), "continue is reported");
	observe("continued, status %#x; again: %s", st, result(waitpid(a, &st, WCONTINUED | WNOHANG)));

	kill(b, SIGTSTP);
	require(waitid(P_PID, b, &si, WSTOPPED) == 0, "waitid of a stop");
	observe("waitid: code %s, status %d, uid %d", si.si_code == CLD_STOPPED ? "CLD_STOPPED" : "?", si.si_status, si.si_uid);
	require(si.si_pid == b && si.si_signo == SIGCHLD, "si_pid and si_signo");

	kill(b, SIGKILL); /* ends a stopped process, too */
	require(waitid(P_PGID, b, &si, WEXITED | WNOWAIT) == 0 && si.si_pid == b, "by group");
	observe("WNOWAIT: code %s, status %d", si.si_code == CLD_KILLED ? "CLD_KILLED" : "?", si.si_status);
	observe("again: %s", result(waitid(P_PGID, b, &si, WEXITED | WNOWAIT)));
	require(waitpid(-b, &st, 0) == b, "wait by group takes b");
	observe("then reaped: %s", reap(b));

	kill(a, SIGTERM);
	require(wait(&st) == a, "a is the only one left");
	observe("a: signal %d", WTERMSIG(st));

	signal(SIGCHLD, SIG_IGN);
	pid_t c = must(fork());
	if (c == 0)
		_exit(1);
	fails(waitpid(c, &st, 0), ECHILD); /* waits for its end, and there is nothing to reap */
	return contract_end();
}
