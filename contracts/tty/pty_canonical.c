/*
 * tty/pty_canonical: a pseudo-terminal in canonical mode: lines, erase, kill, end of file, echo.
 *
 * Catches: reads that return before the line is whole, editing keys passed on, echo missing or doubled, NL not expanded.
 */
#include "contract.h"
#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>

static int master, slave;

static void show(const char *what, int fd)
{
	char b[128], t[300] = "";
	struct pollfd p = { fd, POLLIN, 0 };
	int k = 0;
	if (poll(&p, 1, 200) == 0) {
		observe("%s: nothing", what);
		return;
	}
	ssize_t n = read(fd, b, sizeof b);
	for (int i = 0; i < n; i++)
		k += snprintf(t + k, sizeof t - k, b[i] >= ' ' && b[i] < 127 ? "%c" : "<%02x>", (unsigned char)b[i]);
	observe("%s: %s \"%s\"", what, result(n), t);
}

int main(void)
{
	char name[64];
	master = must(posix_openpt(O_RDWR | O_NOCTTY));
	must(grantpt(master));
	must(unlockpt(master));
	must(ptsname_r(master, name, sizeof name) ? -1 : 0);
	slave = must(open(name, O_RDWR | O_NOCTTY));
	struct termios t;
	must(tcgetattr(slave, &t));
	observe("isatty: %d; ICANON %d ECHO %d ISIG %d OPOST %d ICRNL %d, VINTR %d VEOF %d VERASE %d", isatty(slave), !!(t.c_lflag & ICANON), !!(t.c_lflag & ECHO), !!(t.c_lflag & ISIG),
		!!(t.c_oflag & OPOST), !!(t.c_iflag & ICRNL), t.c_cc[VINTR], t.c_cc[VEOF], t.c_cc[VERASE]);
	write(master, "abc", 3);
	show("no line yet", slave);
	show("echo", master);
	write(master, "d\177\177x\r", 5);
	show("the line, edited", slave);
	show("echo", master);
	write(master, "first\nsecond\n", 13);
	show("one line a read", slave);
	show("the next", slave);
	show("echo", master);
	write(master, "wrong\025right\n", 12);
	show("killed line", slave);
	show("echo", master);
	write(master, "part\004", 5);
	show("end of file in a line", slave);
	write(master, "\004", 1);
	show("end of file alone", slave);
	show("echo", master);
	write(slave, "out\n", 4);
	show("output", master);
	t.c_lflag &= ~(ICANON | ECHO);
	t.c_cc[VMIN] = 1, t.c_cc[VTIME] = 0;
	must(tcsetattr(slave, TCSANOW, &t));
	write(master, "ra", 2);
	show("raw", slave);
	show("no echo", master);
	struct winsize w = { 24, 80, 0, 0 }, v;
	must(ioctl(master, TIOCSWINSZ, &w));
	must(ioctl(slave, TIOCGWINSZ, &v));
	observe("window size: %d %d", v.ws_row, v.ws_col);
	close(slave);
	char c;
	fails(read(master, &c, 1), EIO);
	return contract_end();
}
