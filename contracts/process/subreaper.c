/*
 * process/subreaper: who adopts orphans, and the signal of a parent's death.
 *
 * Catches: orphans that skip the subreaper, a setting inherited by children, a death signal that survives execve of a set-id program or fork.
 */
#include "contract.h"
#include <sys/prctl.h>

int main(void)
{
	int on = -1, p[2];
	pid_t me = getpid(), got;
	must(pipe(p));
	must(prctl(PR_SET_CHILD_SUBREAPER, 1));
	must(prctl(PR_GET_CHILD_SUBREAPER, &on));
	observe("on: %d", on);
	pid_t c = must(fork());
	if (c == 0) {
		must(prctl(PR_GET_CHILD_SUBREAPER, &on));
		observe("not inherited: %d", on);
		if (fork() == 0) {
			if (fork() == 0) { /* great-grandchild: two generations die above it */
				while (getppid() != me)
					usleep(1000);
				got = getppid();
				must(write(p[1], &got, sizeof got));
				_exit(7);
			}
			_exit(0);
		}
		wait(NULL);
		_exit(0);
	}
	observe("child: %s", reap(c));
	must(read(p[0], &got, sizeof got));
	observe("adopted by the subreaper: %d", got == me);
	int st;
	must(wait(&st));
	observe("and waited for: exit %d", WEXITSTATUS(st));
	fails(wait(NULL), ECHILD);
	/* A nearer one takes precedence; after its death the next. */
	c = must(fork());
	if (c == 0) {
		must(prctl(PR_SET_CHILD_SUBREAPER, 1));
		pid_t self = getpid();
		if (fork() == 0) {
			if (fork() == 0) {
				while (getppid() != self)
					usleep(1000);
				must(write(p[1], "n", 1));
				while (getppid() != me)
					usleep(1000);
				must(write(p[1], "f", 1));
				_exit(0);
			}
			_exit(0);
		}
		wait(NULL);
		char ch;
		must(read(p[0], &ch, 1));
		observe("nearer: %c", ch);
		_exit(0);
	}
	observe("%s", reap(c));
	char ch;
	must(read(p[0], &ch, 1));
	observe("then farther: %c", ch);
	observe("%s", wait(&st) > 0 ? "waited" : "nobody");
	/* PR_SET_PDEATHSIG */
	c = must(fork());
	if (c == 0) {
		pid_t q = must(fork());
		if (q == 0) {
			must(prctl(PR_SET_PDEATHSIG, SIGUSR1));
			sigset_t s;
			sigemptyset(&s), sigaddset(&s, SIGUSR1);
			sigprocmask(SIG_BLOCK, &s, NULL);
			must(write(p[1], "r", 1));
			siginfo_t si;
			must(sigwaitinfo(&s, &si));
			observe("parent died: signal %d", si.si_signo == SIGUSR1);
			if (fork() == 0) {
				int sig = -1;
				must(prctl(PR_GET_PDEATHSIG, &sig));
				observe("not inherited: %d", sig);
				_exit(0);
			}
			wait(NULL);
			must(write(p[1], "d", 1));
			_exit(0);
		}
		must(read(p[0], &ch, 1));
		_exit(0);
	}
	reap(c);
	must(read(p[0], &ch, 1));
	wait(NULL);
	fails(prctl(PR_SET_PDEATHSIG, 99), EINVAL);
	must(prctl(PR_SET_CHILD_SUBREAPER, 0));
	must(prctl(PR_GET_CHILD_SUBREAPER, &on));
	observe("off: %d", on);
	return contract_end();
}
