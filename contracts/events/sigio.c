/*
 * events/sigio: signals that tell of events: O_ASYNC, F_SETOWN, F_SETSIG, FIOASYNC.
 *
 * Catches: an O_ASYNC that is kept and never acts, signals for the wrong side, process or thread, siginfo without descriptor and band, signals
 * after O_ASYNC was taken back or the owner has gone, files without events that pretend to have them.
 */
#include "contract.h"
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <termios.h>

static sigset_t all;

/* took names the signal that is pending, if one is. */
static const char *took(int other)
{
	static char s[4][96];
	static int n;
	char *b = s[n++ % 4];
	siginfo_t si;
	struct timespec now = { 0, 0 };
	int sig = sigtimedwait(&all, &si, &now);
	if (sig < 0)
		return "nothing";
	if (sig == SIGIO && si.si_code == SI_KERNEL)
		return "SIGIO of the kernel";
	if (sig == SIGURG)
		return "SIGURG";
	snprintf(b, 96, "%s code %d band %#lx fd %s", sig == SIGIO ? "SIGIO" : sig == SIGCHLD ? "SIGCHLD" : sig == SIGRTMIN + 2 ? "RT+2" : "another", si.si_code, si.si_band, si.si_fd == other ? "right" : "wrong");
	return b;
}

static int async(int fd, int on)
{
	return fcntl(fd, F_SETFL, (fcntl(fd, F_GETFL) & ~O_ASYNC) | (on ? O_ASYNC : 0));
}

int main(void)
{
	int p[2], s[2], st;
	char b[65536];
	struct f_owner_ex ex;
	sigemptyset(&all);
	sigaddset(&all, SIGIO);
	sigaddset(&all, SIGURG);
	sigaddset(&all, SIGCHLD);
	sigaddset(&all, SIGRTMIN + 2);
	sigprocmask(SIG_BLOCK, &all, NULL);

	/* A pipe: data for the reader, room for the writer. */
	must(pipe2(p, O_NONBLOCK));
	observe("owner at first %d, signal %d", fcntl(p[0], F_GETOWN), fcntl(p[0], F_GETSIG));
	must(async(p[0], 1));
	observe("flag %d", (fcntl(p[0], F_GETFL) & O_ASYNC) != 0);
	must(write(p[1], "a", 1));
	observe("without an owner: %s", took(p[0]));
	must(fcntl(p[0], F_SETOWN, getpid()));
	must(write(p[1], "a", 1));
	observe("data: %s; once: %s", took(p[0]), took(p[0]));
	must(fcntl(p[0], F_SETSIG, SIGRTMIN + 2));
	must(write(p[1], "a", 1));
	must(write(p[1], "a", 1));
	observe("with a signal of its own: %s", took(p[0]));
	observe("and the second: %s", took(p[0]));
	must(read(p[0], b, sizeof b));
	observe("reading: %s", took(p[0]));
	must(fcntl(p[1], F_SETOWN, getpid()));
	must(fcntl(p[1], F_SETSIG, SIGRTMIN + 2));
	must(async(p[1], 1));
	while (write(p[1], b, sizeof b) > 0)
		;
	while (strcmp(took(p[0]), "nothing"))
		;
	must(read(p[0], b, sizeof b));
	observe("room: %s", took(p[1]));
	must(async(p[1], 0));
	while (write(p[1], b, sizeof b) > 0)
		;
	while (strcmp(took(p[0]), "nothing"))
		;
	while (read(p[0], b, sizeof b) > 0)
		;
	observe("no more: %s", took(p[1]));
	must(close(p[1]));
	observe("the writer is gone: %s", took(p[0]));
	must(fcntl(p[0], F_SETSIG, SIGCHLD));
	fails(fcntl(p[0], F_SETSIG, 65), EINVAL);
	observe("F_GETSIG %d", fcntl(p[0], F_GETSIG) == SIGCHLD);
	must(close(p[0]));

	/* Sockets: the peer's data and its end. */
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s));
	int one = 1;
	must(ioctl(s[0], FIOASYNC, &one));
	must(fcntl(s[0], F_SETOWN, getpid()));
	must(fcntl(s[0], F_SETSIG, SIGIO));
	must(write(s[1], "x", 1));
	observe("socket: %s", took(s[0]));
	must(read(s[0], b, 1));
	must(write(s[0], "y", 1));
	must(read(s[1], b, 1));
	observe("its own writing: %s", took(s[0]));
	must(fcntl(s[0], F_SETSIG, SIGCHLD));
	must(write(s[1], "x", 1));
	observe("a signal with codes of its own: %s", took(s[0]));
	must(fcntl(s[0], F_SETSIG, 0));
	one = 0;
	must(ioctl(s[0], FIOASYNC, &one));
	must(write(s[1], "x", 1));
	observe("off: %s", took(s[0]));

	/* Owners: a process group, a thread, a child, nobody. */
	must(async(s[0], 1));
	must(fcntl(s[0], F_SETOWN, -getpgrp()));
	must(fcntl(s[0], F_GETOWN_EX, &ex));
	observe("group: kind %d, F_GETOWN %d", ex.type, fcntl(s[0], F_GETOWN) == -getpgrp());
	must(write(s[1], "x", 1));
	observe("group: %s", took(s[0]));
	ex = (struct f_owner_ex){ F_OWNER_TID, gettid() };
	must(fcntl(s[0], F_SETOWN_EX, &ex));
	must(fcntl(s[0], F_GETOWN_EX, &ex));
	observe("thread: kind %d, right %d", ex.type, ex.pid == gettid());
	must(write(s[1], "x", 1));
	observe("thread: %s", took(s[0]));
	pid_t c = must(fork());
	if (c == 0) {
		siginfo_t si;
		_exit(sigwaitinfo(&all, &si) == SIGIO ? 3 : 4);
	}
	must(fcntl(s[0], F_SETOWN, c));
	must(write(s[1], "x", 1));
	must(waitpid(c, &st, 0));
	siginfo_t si;
	struct timespec now = { 0, 0 };
	observe("child: exit %d; for us SIGCHLD %d, then %s", WEXITSTATUS(st), sigtimedwait(&all, &si, &now) == SIGCHLD, took(s[0]));
	observe("the owner is gone: %d", fcntl(s[0], F_GETOWN));
	must(write(s[1], "x", 1));
	observe("nobody: %s", took(s[0]));
	ex = (struct f_owner_ex){ 3, 1 };
	fails(fcntl(s[0], F_SETOWN_EX, &ex), EINVAL);
	ex = (struct f_owner_ex){ F_OWNER_PID, 99999999 };
	fails(fcntl(s[0], F_SETOWN_EX, &ex), ESRCH);
	must(fcntl(s[0], F_SETOWN, getpid()));
	must(close(s[1]));
	observe("the peer is gone: %s", took(s[0]));

	/* A duplicate keeps it on; closing the last one ends it. */
	must(pipe(p));
	must(fcntl(p[0], F_SETOWN, getpid()));
	must(async(p[0], 1));
	int d = must(dup(p[0]));
	must(close(p[0]));
	must(write(p[1], "x", 1));
	observe("a duplicate: %s", took(d));
	must(close(d));
	observe("none left: %s", took(d));

	/* Terminals and inotify have events, regular files and eventfds do not. */
	int m = must(posix_openpt(O_RDWR | O_NOCTTY));
	must(grantpt(m));
	must(unlockpt(m));
	int t = must(open(ptsname(m), O_RDWR | O_NOCTTY));
	must(fcntl(t, F_SETOWN, getpid()));
	must(async(t, 1));
	must(write(m, "line\n", 5));
	observe("a line: %d", sigwaitinfo(&all, &si) == SIGIO); /* in its own time */
	must(async(t, 0));
	while (strcmp(took(t), "nothing"))
		;
	int w = must(inotify_init1(O_NONBLOCK));
	must(fcntl(w, F_SETOWN, getpid()));
	must(async(w, 1));
	must(inotify_add_watch(w, ".", IN_CREATE));
	int f = must(open("file", O_RDWR | O_CREAT, 0600));
	observe("inotify: %s", took(w));
	must(async(f, 1));
	observe("file: flag %d", (fcntl(f, F_GETFL) & O_ASYNC) != 0);
	one = 1;
	fails(ioctl(f, FIOASYNC, &one), ENOTTY);

	/* Nobody who waits for it: it kills. */
	c = must(fork());
	if (c == 0) {
		must(pipe(p));
		must(fcntl(p[0], F_SETOWN, getpid()));
		must(async(p[0], 1));
		sigprocmask(SIG_UNBLOCK, &all, NULL);
		must(write(p[1], "x", 1));
		_exit(0);
	}
	must(waitpid(c, &st, 0));
	observe("default: killed %d", WIFSIGNALED(st) && WTERMSIG(st) == SIGIO);
	return contract_end();
}
