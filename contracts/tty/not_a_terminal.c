/*
 * tty/not_a_terminal: terminal calls on what is none, and a process without controlling terminal.
 *
 * Catches: pipes and /dev/null taken for terminals (programs then change their output), /dev/tty that opens without one.
 */
#include "contract.h"
#include <sys/ioctl.h>
#include <termios.h>

int main(void)
{
	struct termios t;
	struct winsize w;
	int p[2], pgrp;
	must(pipe(p));
	int fds[] = { p[0], must(open("file", O_CREAT | O_RDWR, 0600)), must(open("/dev/null", O_RDWR)), must(open("/dev/zero", O_RDWR)) };
	for (int i = 0; i < 4; i++) {
		errno = 0;
		observe("%d: isatty %d %s", i, isatty(fds[i]), errno_name(errno));
		fails(tcgetattr(fds[i], &t), ENOTTY);
		fails(ioctl(fds[i], TIOCGWINSZ, &w), ENOTTY);
		fails(ioctl(fds[i], TIOCGPGRP, &pgrp), ENOTTY);
	}
	fails(open("/dev/tty", O_RDWR), ENXIO);
	fails(tcgetattr(99, &t), EBADF);
	return contract_end();
}
