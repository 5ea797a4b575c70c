/*
 * programs/terminal_session: a shell under a pseudo-terminal, as a person uses it: prompts, line editing, Ctrl-C, Ctrl-Z, fg, end of file, window size.
 *
 * Catches: a terminal without echo or with it twice, signals to the wrong group, jobs that stop the shell, a hang-up that nobody gets.
 *
 * Timeout: 60s
 */
#include "contract.h"
#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>

static int master;
static char seen[65536];
static size_t have, shown;

/* until reads the terminal until the text has come, and answers where it ends. */
static void until(const char *text)
{
	long long begin = clock_ns(CLOCK_MONOTONIC);
	for (;;) {
		seen[have] = 0;
		char *at = strstr(seen + shown, text);
		if (at) {
			shown = at + strlen(text) - seen;
			return;
		}
		struct pollfd p = { .fd = master, .events = POLLIN };
		if (clock_ns(CLOCK_MONOTONIC) - begin > 20000000000LL || have == sizeof seen - 1)
			contract_fail("\"%s\" never came; the last was \"%.200s\"", text, seen + (have > 200 ? have - 200 : 0));
		if (poll(&p, 1, 1000) > 0) {
			ssize_t n = read(master, seen + have, sizeof seen - 1 - have);
			if (n <= 0)
				contract_fail("the terminal ended before \"%s\"", text);
			have += n;
		}
	}
}

static void type(const char *text) { require(write(master, text, strlen(text)) == (ssize_t)strlen(text), "typing"); }

/* in_front says whether the group that has the terminal is led by a program of that name, and asleep: only then are its signals set up. */
static int in_front(const char *program)
{
	char path[64], comm[32] = "";
	pid_t g = tcgetpgrp(master);
	snprintf(path, sizeof path, "/proc/%d/comm", g);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	ssize_t n = read(fd, comm, sizeof comm - 1);
	close(fd);
	return n > 1 && !strncmp(comm, program, n - 1) && asleep(g, g);
}

int main(void)
{
	master = must(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
	must(grantpt(master));
	must(unlockpt(master));
	struct winsize w = { .ws_row = 33, .ws_col = 99 };
	must(ioctl(master, TIOCSWINSZ, &w));
	pid_t shell = must(fork());
	if (shell == 0) {
		setsid();
		int tty = open(ptsname(master), O_RDWR);
		if (tty < 0 || ioctl(tty, TIOCSCTTY, 0) < 0)
			_exit(90);
		for (int i = 0; i < 3; i++)
			dup2(tty, i);
		if (tty > 2)
			close(tty);
		char *env[] = { "PATH=/bin", "PS1=ready> ", "TERM=dumb", "HOME=/", NULL };
		execle("/bin/sh", "-sh", "-i", NULL, env);
		_exit(91);
	}
	until("ready> ");
	observe("prompt");

	type("echo one$((1+1))\n");
	until("one2\r\n");
	until("ready> ");
	observe("a command's output, with carriage returns");

	type("stty size; tty | cut -c1-9; test -t 0 && echo tty0\n");
	until("33 99\r\n");
	until("/dev/pts/\r\n");
	until("tty0\r\n");
	until("ready> ");
	observe("size, name and kind of the terminal");

	type("sleep 100\n");
	wait_until(in_front("sleep"));
	type("\x03");
	until("ready> ");
	type("echo status $?\n");
	until("status 130\r\n");
	until("ready> ");
	observe("Ctrl-C ended the job, not the shell");

	type("sleep 101; echo st\"op\"ped\n");
	wait_until(in_front("sleep"));
	type("\x1a");
	until("Stopped");
	until("ready> ");
	type("jobs | grep -c Stopped\n");
	until("1\r\n");
	until("ready> ");
	type("fg\n");
	wait_until(in_front("sleep"));
	type("\x03");
	until("ready> ");
	observe("Ctrl-Z stopped it, fg went on");

	type("cat | tr a-z A-Z\n");
	wait_until(in_front("cat"));
	type("wrong\x15right\n");
	type("\x04");
	until("RIGHT\r\n");
	until("ready> ");
	observe("kill and end of file edit the line of a pipeline");

	type("sh -c 'trap \"stty size; exit\" WINCH; echo ar\"\"med; while :; do sleep 0.01; done'\n");
	until("armed\r\n");
	w.ws_row = 44;
	must(ioctl(master, TIOCSWINSZ, &w));
	until("44 99\r\n");
	until("ready> ");
	observe("the window's new size was told");

	type("stty -echo; echo q\"uie\"t; stty echo\n");
	until("quiet\r\n");
	until("ready> ");
	type("sleep 201\n");
	wait_until(in_front("sleep"));
	observe("going away");
	close(master);
	observe("the shell after its terminal went: %s", reap(shell));
	return contract_end();
}
