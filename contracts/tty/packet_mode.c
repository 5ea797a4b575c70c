/*
 * tty/packet_mode: TIOCPKT, TIOCSTI and the exclusive mode.
 *
 * Catches: packets without their control byte, flushes and stops that the master is not told, input that cannot be simulated by its owner or can by others.
 */
#include "contract.h"
#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>

int main(void)
{
	char b[64];
	int on = 1, off = 0, got = -1;
	int m = must(posix_openpt(O_RDWR | O_NOCTTY));
	must(grantpt(m)), must(unlockpt(m));
	int s = must(open(ptsname(m), O_RDWR | O_NOCTTY));
	must(ioctl(m, TIOCPKT, &on));
	must(ioctl(m, TIOCGPKT, &got));
	observe("on: %d", got);
	fails(ioctl(s, TIOCPKT, &on), ENOTTY);
	must(write(s, "data", 4));
	ssize_t n = must(read(m, b, sizeof b));
	observe("data: %zd bytes, control %d, '%.4s'", n, b[0], b + 1);
	must(tcflush(s, TCIFLUSH));
	struct pollfd p = { m, POLLPRI, 0 };
	observe("flush: poll %s", result(poll(&p, 1, 0)));
	n = must(read(m, b, sizeof b));
	observe("%zd byte, control %#x", n, b[0]);
	must(tcflow(s, TCOOFF));
	n = must(read(m, b, sizeof b));
	observe("stopped: control %#x", b[0]);
	must(tcflow(s, TCOON));
	n = must(read(m, b, sizeof b));
	observe("started: control %#x", b[0]);
	struct termios t;
	must(tcgetattr(s, &t));
	t.c_iflag &= ~IXON;
	must(tcsetattr(s, TCSANOW, &t));
	n = must(read(m, b, sizeof b));
	observe("no more stopping by ^S: control %#x", b[0]);
	must(ioctl(m, TIOCPKT, &off));
	must(write(s, "plain", 5));
	n = must(read(m, b, sizeof b));
	observe("off: %zd bytes", n);
	/* Locked and exclusive. */
	int m2 = must(posix_openpt(O_RDWR | O_NOCTTY));
	must(ioctl(m2, TIOCSPTLCK, &on));
	fails(open(ptsname(m2), O_RDWR | O_NOCTTY), EIO);
	must(ioctl(m2, TIOCGPTLCK, &got));
	observe("locked: %d", got);
	must(ioctl(m2, TIOCSPTLCK, &off));
	int peer = must(open(ptsname(m2), O_RDWR | O_NOCTTY));
	must(ioctl(peer, TIOCEXCL));
	pid_t c = must(fork());
	if (c == 0) {
		must(setuid(1000));
		_exit(open(ptsname(m2), O_RDWR | O_NOCTTY) == -1 && (errno == EBUSY || errno == EACCES) ? 0 : 1);
	}
	observe("exclusive: %s", reap(c));
	must(ioctl(peer, TIOCNXCL));
	observe("not any more: %s", ok(open(ptsname(m2), O_RDWR | O_NOCTTY)));
	unsigned number;
	must(ioctl(m2, TIOCGPTN, &number));
	char name[32];
	snprintf(name, sizeof name, "/dev/pts/%u", number);
	observe("number: %d", !strcmp(name, ptsname(m2)));
	must(ioctl(m, TIOCOUTQ, &got));
	observe("to be sent: %d", got);
	return contract_end();
}
