/*
 * process/exec_state: what a process keeps and what it loses across execve.
 *
 * Catches: handlers that survive (the address is gone), ignored signals that are reset, pending signals or the mask lost,
 * close-on-exec descriptors that stay open or others that close, alternate stacks that survive.
 */
#include "contract.h"
#include <sys/resource.h>

extern char **environ;

static void handler(int s) { (void)s; }

static int second(int argc, char **argv)
{
	struct sigaction a;
	stack_t ss;
	sigset_t mask, pending;
	for (int i = 1; i < argc; i++)
		observe("argument %d: \"%s\"", i, argv[i]);
	for (char **e = environ; *e; e++)
		if (strncmp(*e, "PID_BEFORE=", 11)) /* different everywhere */
			observe("environment: %s", *e);
	sigaction(SIGUSR1, NULL, &a);
	observe("handled signal: %s", a.sa_handler == SIG_DFL ? "default" : "not default");
	require(a.sa_handler == SIG_DFL, "handlers are reset");
	sigaction(SIGUSR2, NULL, &a);
	observe("ignored signal: %s", a.sa_handler == SIG_IGN ? "ignored" : "not ignored");
	require(a.sa_handler == SIG_IGN, "ignored signals stay ignored");
	sigprocmask(SIG_SETMASK, NULL, &mask);
	sigpending(&pending);
	observe("blocked: INT %d TERM %d; pending: TERM %d", sigismember(&mask, SIGINT), sigismember(&mask, SIGTERM), sigismember(&pending, SIGTERM));
	require(sigismember(&mask, SIGTERM) && !sigismember(&mask, SIGINT), "the mask stays");
	require(sigismember(&pending, SIGTERM), "pending signals stay");
	sigaltstack(NULL, &ss);
	observe("alternate stack: %s", ss.ss_flags == SS_DISABLE ? "disabled" : "there");
	require(ss.ss_flags == SS_DISABLE, "the alternate stack is gone");
	observe("descriptor 10: %s, 11: %s", ok(fcntl(10, F_GETFD)), ok(fcntl(11, F_GETFD)));
	require(fcntl(10, F_GETFD) == 0 && fcntl(11, F_GETFD) == -1, "close-on-exec");
	char offset = 0;
	read(10, &offset, 1);
	observe("descriptor 10 reads on at: %c", offset);
	observe("pid: %s", getpid() == atoi(getenv("PID_BEFORE")) ? "same" : "changed");
	mode_t m = umask(0);
	observe("umask: %03o, nofile: %d", m, (int)sysconf(_SC_OPEN_MAX));
	return contract_end();
}

int main(int argc, char **argv)
{
	if (argc > 1)
		return second(argc, argv);
	static char stack[65536];
	stack_t ss = { .ss_sp = stack, .ss_size = sizeof stack };
	sigset_t term;
	signal(SIGUSR1, handler);
	signal(SIGUSR2, SIG_IGN);
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_BLOCK, &term, NULL);
	kill(getpid(), SIGTERM);
	must(sigaltstack(&ss, NULL));
	int fd = must(open("file", O_RDWR | O_CREAT, 0600));
	write(fd, "abc", 3);
	lseek(fd, 1, SEEK_SET);
	must(dup2(fd, 10));
	must(dup3(fd, 11, O_CLOEXEC));
	umask(027);
	struct rlimit few = { 100, 200 };
	must(setrlimit(RLIMIT_NOFILE, &few));
	/* Signals that a parent has pending are not its child's, so the child sends itself another. */
	pid_t p = must(fork());
	if (p == 0) {
		char before[32];
		char *args[] = { argv[0], "one", "", "three with spaces", "\xff\x01", NULL };
		char *env[] = { "A=1", "EMPTY=", "no equals sign", before, NULL };
		snprintf(before, sizeof before, "PID_BEFORE=%d", getpid());
		kill(getpid(), SIGTERM);
		execve("/proc/self/exe", args, env);
		contract_fail("execve: %s", errno_name(errno));
	}
	return strcmp(reap(p), "exit 0") ? 1 : 0;
}
