/*
 * tty/sessions: how a session gets a terminal, gives it up, and who may ask about it.
 *
 * Catches: a terminal for somebody who is not a leader, two terminals, a stolen one, /dev/tty without one, foreground groups of other sessions.
 */
#include "contract.h"
#include <sys/ioctl.h>
#include <termios.h>

static int pty(int *slave)
{
	int m = must(posix_openpt(O_RDWR | O_NOCTTY));
	must(grantpt(m)), must(unlockpt(m));
	*slave = must(open(ptsname(m), O_RDWR | O_NOCTTY));
	return m;
}

int main(void)
{
	int slave, other, sid, m = pty(&slave), m2 = pty(&other);
	fails(tcgetsid(slave), ENOTTY);
	fails(tcgetpgrp(slave), ENOTTY);
	fails(open("/dev/tty", O_RDWR), ENXIO);
	pid_t p = must(fork());
	if (p == 0) {
		fails(ioctl(slave, TIOCSCTTY, 0), EPERM); /* not a leader */
		must(setsid());
		observe("O_NOCTTY: /dev/tty %s", ok(open("/dev/tty", O_RDWR)));
		must(ioctl(slave, TIOCSCTTY, 0));
		observe("again: %s", ok(ioctl(slave, TIOCSCTTY, 0)));
		fails(ioctl(other, TIOCSCTTY, 0), EPERM); /* one is enough */
		observe("session %d, foreground %d", tcgetsid(slave) == getpid(), tcgetpgrp(slave) == getpid());
		int tty = must(open("/dev/tty", O_RDWR));
		observe("/dev/tty: session %d", tcgetsid(tty) == getpid());
		observe("seen from the master: %d", ioctl(m, TIOCGSID, &sid) == 0 && sid == getpid());
		fails(tcsetpgrp(slave, 999999), ESRCH);
		fails(tcsetpgrp(slave, -1), EINVAL);
		fails(tcsetpgrp(slave, getppid()), EPERM); /* of another session */
		fails(tcsetpgrp(other, getpid()), ENOTTY);
		pid_t c = must(fork());
		if (c == 0) {
			setpgid(0, 0);
			signal(SIGTTOU, SIG_IGN);
			observe("background process takes the foreground: %s", ok(tcsetpgrp(slave, getpid())));
			observe("is it: %d", tcgetpgrp(slave) == getpid());
			pid_t d = must(fork());
			if (d == 0) {
				must(setsid());
				fails(ioctl(slave, TIOCSCTTY, 0), EPERM); /* it is somebody's */
				setuid(1000);
				fails(ioctl(slave, TIOCSCTTY, 1), EPERM); /* stealing takes a privilege */
				fails(tcgetpgrp(slave), ENOTTY);
				_exit(0);
			}
			observe("%s", reap(d));
			_exit(0);
		}
		observe("%s", reap(c));
		signal(SIGHUP, SIG_IGN);
		signal(SIGCONT, SIG_IGN);
		must(ioctl(slave, TIOCNOTTY));
		fails(open("/dev/tty", O_RDWR), ENXIO);
		fails(tcgetsid(slave), ENOTTY);
		must(ioctl(other, TIOCSCTTY, 0));
		observe("another one: %d", tcgetsid(other) == getpid());
		_exit(0);
	}
	observe("%s", reap(p));
	fails(tcgetsid(other), ENOTTY);
	p = must(fork());
	if (p == 0) {
		must(setsid());
		int s = must(open(ptsname(m2), O_RDWR));
		observe("by opening: %d", tcgetsid(s) == getpid());
		_exit(0);
	}
	observe("%s", reap(p));
	return contract_end();
}
