/*
 * tty/termios_raw: raw input with MIN and TIME, echo, and the translations of single characters.
 *
 * Catches: a read that waits for a line, MIN that is ignored, a TIME that never ends, echo that cannot be switched off, CR and NL confused.
 */
#include "contract.h"
#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>

static int master, slave;

static const char *shown(const char *b, ssize_t n)
{
	static char t[4][128];
	static int next;
	char *p = t[next++ & 3], *q = p;
	if (n < 0)
		return errno_name(errno);
	for (ssize_t i = 0; i < n && q < p + 120; i++)
		q += b[i] < 32 || b[i] > 126 ? sprintf(q, "\\x%02x", (unsigned char)b[i]) : sprintf(q, "%c", b[i]);
	*q = 0;
	return p;
}

static const char *take(int fd)
{
	char b[64];
	ssize_t n = read(fd, b, sizeof b);
	return shown(b, n);
}

static const char *echoed(void)
{
	struct pollfd p = { master, POLLIN, 0 };
	return poll(&p, 1, 0) == 1 ? take(master) : "nothing";
}

static void type(const char *s) { must(write(master, s, strlen(s))); }

int main(void)
{
	struct termios t, raw;
	master = must(posix_openpt(O_RDWR | O_NOCTTY));
	must(grantpt(master)), must(unlockpt(master));
	slave = must(open(ptsname(master), O_RDWR | O_NOCTTY));
	must(tcgetattr(slave, &t));
	observe("at first: i %#o, o %#o, l %#o, speed %d, INTR %#x, EOF %#x", t.c_iflag, t.c_oflag, t.c_lflag, cfgetospeed(&t) == B38400, t.c_cc[VINTR], t.c_cc[VEOF]);
	raw = t;
	cfmakeraw(&raw);
	must(tcsetattr(slave, TCSANOW, &raw));
	type("ab\rc\003\004");
	observe("raw: '%s', echoed %s", take(slave), echoed());
	must(write(slave, "x\ny\n", 4));
	observe("output untouched: '%s'", take(master));
	/* MIN characters, or none at once. */
	int n;
	raw.c_cc[VMIN] = 3, raw.c_cc[VTIME] = 0;
	must(tcsetattr(slave, TCSANOW, &raw));
	type("12");
	wait_until(ioctl(slave, FIONREAD, &n) == 0 && n == 2); /* the line discipline takes it in its own time */
	observe("two of three: FIONREAD %d", n);
	pid_t p = must(fork());
	if (p == 0) {
		observe("MIN 3: '%s'", take(slave));
		_exit(0);
	}
	wait_until(asleep(p, p));
	type("3");
	reap(p);
	raw.c_cc[VMIN] = 0;
	must(tcsetattr(slave, TCSANOW, &raw));
	observe("MIN 0, TIME 0: '%s'", take(slave));
	raw.c_cc[VTIME] = 1;
	must(tcsetattr(slave, TCSANOW, &raw));
	observe("TIME 1: '%s'", take(slave));
	int nb = must(open(ptsname(master), O_RDWR | O_NOCTTY | O_NONBLOCK));
	raw.c_cc[VMIN] = 1, raw.c_cc[VTIME] = 0;
	must(tcsetattr(slave, TCSANOW, &raw));
	observe("nonblocking: %s", take(nb));
	/* Translations. */
	raw = t;
	raw.c_lflag &= ~(ICANON | ECHO);
	raw.c_iflag = INLCR | IGNCR;
	raw.c_oflag = OPOST | ONLCR;
	must(tcsetattr(slave, TCSANOW, &raw));
	type("a\nb\rc");
	observe("INLCR, IGNCR: '%s'", take(slave));
	must(write(slave, "1\n2", 3));
	observe("ONLCR: '%s'", take(master));
	raw.c_iflag = ISTRIP | IUCLC;
	raw.c_oflag = OPOST | OLCUC | OCRNL;
	raw.c_lflag |= IEXTEN;
	must(tcsetattr(slave, TCSANOW, &raw));
	type("\301Bc");
	observe("ISTRIP, IUCLC: '%s'", take(slave));
	must(write(slave, "low\r", 4));
	observe("OLCUC, OCRNL: '%s'", take(master));
	/* Echo in lines. */
	must(tcsetattr(slave, TCSANOW, &t));
	type("abX\177c\n");
	observe("line: '%s', echo '%s'", take(slave), take(master));
	t.c_lflag &= ~ECHO;
	t.c_lflag |= ECHONL;
	must(tcsetattr(slave, TCSAFLUSH, &t));
	type("secret\n");
	observe("ECHONL: '%s', echo '%s'", take(slave), take(master));
	type("flushed");
	must(tcflush(slave, TCIFLUSH));
	type("rest\n");
	observe("TCIFLUSH: '%s'", take(slave));
	fails(tcsetattr(slave, 99, &t), EINVAL);
	fails(tcflush(slave, 99), EINVAL);
	fails(tcgetattr(-1, &t), EBADF);
	return contract_end();
}
