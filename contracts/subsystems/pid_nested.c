/*
 * subsystems/pid_nested: one process, three numbers: nested PID namespaces seen from each level.
 *
 * Catches: numbers given out once for all levels, a death that does not reach the levels below, siginfo with a number of another level.
 */
#include "contract.h"
#include <sched.h>

static char stacks[2][65536] __attribute__((aligned(16)));
static int gate[2], deaths[2], ready[2];
static volatile sig_atomic_t sender = -1;

static void on_usr1(int s, siginfo_t *i, void *c)
{
	(void)s, (void)c;
	sender = i->si_pid;
}

static int inner(void *x)
{
	char b[512], *p;
	(void)x;
	int fd = must(open("/proc/self/status", O_RDONLY)); /* a /proc of the outside: all three */
	ssize_t n = must(read(fd, b, sizeof b - 1));
	b[n] = 0;
	p = strstr(b, "NSpid:");
	int a = 0, m = 0, i = 0;
	require(p && sscanf(p, "NSpid: %d %d %d", &a, &m, &i) == 3, "three numbers in NSpid");
	observe("inner: outside %d, in the middle %d, here %d", a > 2, m, i);
	observe("getpid %d, getppid %d", getpid(), getppid());
	struct sigaction sa = { .sa_sigaction = on_usr1, .sa_flags = SA_SIGINFO };
	sigaction(SIGUSR1, &sa, NULL);
	must(write(gate[1], "i", 1));
	while (sender < 0)
		usleep(1000);
	observe("a signal from the middle: sender %d", sender);
	must(write(gate[1], "s", 1));
	close(gate[1]);
	for (;;)
		pause(); /* deaths[1] stays open until this dies */
}

static int middle(void *x)
{
	char c;
	(void)x;
	pid_t extra = must(fork());
	if (extra == 0)
		_exit(0);
	reap(extra);
	pid_t p = clone(inner, stacks[1] + sizeof stacks[1], CLONE_NEWPID | SIGCHLD, NULL);
	require(p > 0, "clone in the namespace: %s", errno_name(errno));
	must(read(gate[0], &c, 1));
	observe("middle: %d, its child %d", getpid(), p);
	must(kill(p, SIGUSR1));
	must(read(gate[0], &c, 1));
	close(deaths[1]);
	must(write(ready[1], "r", 1));
	for (;;)
		pause();
}

int main(void)
{
	char c;
	must(pipe(gate));
	must(pipe(deaths));
	must(pipe(ready));
	pid_t p = clone(middle, stacks[0] + sizeof stacks[0], CLONE_NEWPID | SIGCHLD, NULL);
	require(p > 0, "clone(CLONE_NEWPID): %s", errno_name(errno));
	close(deaths[1]);
	close(gate[1]);
	/* The inner init holds the last end of deaths when the middle one has closed its own. */
	while (read(ready[0], &c, 1) != 1)
		;
	must(kill(p, SIGTERM)); /* no handler: an init does not die of it, from outside either */
	must(kill(p, 0));
	must(kill(p, SIGKILL));
	observe("killed from outside: %s", reap(p));
	observe("the inner one died with it: read %s", result(read(deaths[0], &c, 1)));
	return contract_end();
}
