/*
 * signals/stop_continue: stopped processes do nothing until SIGCONT, which also discards pending stops.
 *
 * Catches: a process that runs on while stopped, SIGCONT that does not wake, SIGCHLD missing for stops, SA_NOCLDSTOP ignored.
 */
#include "contract.h"

static volatile int chld, codes[16];
static void on_child(int s, siginfo_t *si, void *c) { (void)s, (void)c; if (chld < 16) codes[chld] = si->si_code; chld++; }

int main(void)
{
	struct sigaction a = { .sa_sigaction = on_child, .sa_flags = SA_SIGINFO | SA_RESTART };
	volatile long *shared = must(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	int st;
	sigaction(SIGCHLD, &a, NULL);
	pid_t p = must(fork());
	if (p == 0)
		for (;;)
			++*shared;
	wait_until(*shared > 1000);
	kill(p, SIGSTOP);
	require(waitpid(p, &st, WUNTRACED) == p && WIFSTOPPED(st), "stops");
	long before = *shared;
	usleep(50000);
	observe("while stopped it counted: %ld", *shared - before);
	require(*shared == before, "a stopped process does not run");
	kill(p, SIGTERM);
	observe("SIGTERM waits: %s", result(waitpid(p, &st, WNOHANG)));
	kill(p, SIGCONT);
	require(waitpid(p, &st, 0) == p && WIFSIGNALED(st), "then it dies of SIGTERM");
	observe("ended by %d", WTERMSIG(st));
	int stops = 0;
	for (int i = 0; i < chld && i < 16; i++)
		stops += codes[i] == CLD_STOPPED;
	observe("SIGCHLD for the stop: %d", stops); /* those for its going on and its death may be one */

	chld = 0;
	a.sa_flags |= SA_NOCLDSTOP;
	sigaction(SIGCHLD, &a, NULL);
	p = must(fork());
	if (p == 0) {
		sigset_t s;
		sigemptyset(&s);
		sigaddset(&s, SIGTSTP);
		sigprocmask(SIG_BLOCK, &s, NULL);
		raise(SIGTSTP);
		raise(SIGCONT);
		sigpending(&s);
		int left = sigismember(&s, SIGTSTP);
		raise(SIGSTOP);
		_exit(left ? 1 : 7);
	}
	require(waitpid(p, &st, WUNTRACED) == p && WIFSTOPPED(st), "stops itself");
	observe("with SA_NOCLDSTOP: SIGCHLD %d", chld);
	kill(p, SIGCONT);
	observe("SIGCONT discards a pending stop: %s", reap(p));
	return contract_end();
}
