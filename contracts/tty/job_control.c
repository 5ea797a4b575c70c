/*
 * tty/job_control: a session with its terminal: foreground and background, keys as signals, hang-up.
 *
 * Catches: background reads that succeed, SIGTTOU missing, Ctrl-C sent to the wrong group, SIGHUP missing when the terminal goes.
 */
#include "contract.h"
#include <sys/ioctl.h>
#include <termios.h>

int main(void)
{
	char name[64];
	int master = must(posix_openpt(O_RDWR | O_NOCTTY));
	must(unlockpt(master));
	must(ptsname_r(master, name, sizeof name) ? -1 : 0);
	pid_t leader = must(fork());
	if (leader == 0) {
		int st;
		close(master); /* the last copy must be the parent's */
		must(setsid());
		int tty = must(open(name, O_RDWR)); /* becomes the controlling terminal */
		observe("session %d, foreground %d", tcgetsid(tty) == getpid(), tcgetpgrp(tty) == getpid());
		observe("/dev/tty: %s", ok(open("/dev/tty", O_RDWR)));
		pid_t bg = must(fork());
		if (bg == 0) {
			char c;
			setpgid(0, 0);
			read(tty, &c, 1);
			_exit(0);
		}
		setpgid(bg, bg);
		waitpid(bg, &st, WUNTRACED);
		observe("background read: %s by %d", WIFSTOPPED(st) ? "stopped" : "not stopped", WIFSTOPPED(st) ? WSTOPSIG(st) : 0);
		kill(bg, SIGKILL);
		reap(bg);
		bg = must(fork());
		if (bg == 0) {
			setpgid(0, 0);
			tcsetpgrp(tty, getpgrp());
			_exit(0);
		}
		setpgid(bg, bg);
		waitpid(bg, &st, WUNTRACED);
		observe("background tcsetpgrp: %s by %d", WIFSTOPPED(st) ? "stopped" : "not stopped", WIFSTOPPED(st) ? WSTOPSIG(st) : 0);
		kill(bg, SIGKILL);
		reap(bg);
		pid_t fg = must(fork());
		if (fg == 0) {
			setpgid(0, 0);
			signal(SIGTTOU, SIG_IGN);
			tcsetpgrp(tty, getpgrp());
			write(tty, "R", 1);
			for (;;)
				pause();
		}
		setpgid(fg, fg);
		waitpid(fg, &st, 0);
		observe("foreground job: signal %d", WIFSIGNALED(st) ? WTERMSIG(st) : 0);
		signal(SIGTTOU, SIG_IGN);
		must(tcsetpgrp(tty, getpgrp()));
		signal(SIGHUP, SIG_DFL);
		write(tty, "H", 1);
		for (;;)
			pause();
	}
	char c = 0;
	while (c != 'R')
		must(read(master, &c, 1));
	write(master, "\003", 1); /* Ctrl-C */
	while (c != 'H')
		must(read(master, &c, 1));
	close(master);
	observe("leader after hang-up: %s", reap(leader));
	return contract_end();
}
