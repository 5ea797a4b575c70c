/*
 * tty/window_hangup: window sizes with SIGWINCH, and what the end of a master does to the session.
 *
 * Catches: a signal for every setting of the size, or to the wrong group, sizes not shared by both sides, reads that go on after the hang-up, sessions that
 * are not told.
 */
#include "contract.h"
#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>

static volatile sig_atomic_t winches, hups;
static void on_winch(int s) { s == SIGWINCH ? winches++ : hups++; }

int main(void)
{
	char b[64], c;
	int master = must(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC)), up[2], go[2];
	must(grantpt(master)), must(unlockpt(master));
	struct winsize w = { 24, 80, 0, 0 }, r;
	must(ioctl(master, TIOCGWINSZ, &r));
	observe("at first %dx%d", r.ws_row, r.ws_col);
	must(ioctl(master, TIOCSWINSZ, &w));
	must(pipe(up)), must(pipe(go));
	pid_t p = must(fork());
	if (p == 0) {
		int slave, n;
		setsid();
		slave = must(open(ptsname(master), O_RDWR));
		close(master);
		observe("size at the slave %d", ioctl(slave, TIOCGWINSZ, &r) == 0 && r.ws_row == 24 && r.ws_col == 80);
		signal(SIGWINCH, on_winch);
		signal(SIGHUP, on_winch);
		signal(SIGCONT, SIG_IGN);
		must(write(up[1], "r", 1));
		while (read(go[0], &c, 1) < 0)
			;
		wait_until(winches);
		observe("winches %d", winches);
		must(ioctl(slave, TIOCGWINSZ, &r));
		observe("new size %dx%d", r.ws_row, r.ws_col);
		must(write(up[1], "r", 1));
		while (read(go[0], &c, 1) < 0)
			;
		wait_until(hups);
		observe("after the hang-up: read %s", result(read(slave, b, sizeof b)));
		fails(write(slave, "x", 1), EIO);
		struct pollfd f = { slave, POLLIN | POLLOUT, 0 };
		poll(&f, 1, 0);
		observe("poll: hung up %d, error %d", !!(f.revents & POLLHUP), !!(f.revents & POLLERR));
		n = ioctl(slave, TIOCGWINSZ, &r);
		observe("ioctl: %s", ok(n));
		fails(open("/dev/tty", O_RDWR), ENXIO);
		observe("hups %d", hups);
		_exit(0);
	}
	must(read(up[0], &c, 1));
	must(ioctl(master, TIOCSWINSZ, &w)); /* the same: no signal */
	w.ws_row = 50;
	must(ioctl(master, TIOCSWINSZ, &w));
	must(write(go[1], "g", 1));
	must(read(up[0], &c, 1));
	close(master);
	must(write(go[1], "g", 1));
	observe("%s", reap(p));
	/* The other way round: the last slave closes. */
	master = must(posix_openpt(O_RDWR | O_NOCTTY));
	must(grantpt(master)), must(unlockpt(master));
	struct pollfd f = { master, POLLIN, 0 };
	observe("no slave yet: %s", result(poll(&f, 1, 0)));
	int slave = must(open(ptsname(master), O_RDWR | O_NOCTTY));
	must(write(slave, "last words", 10));
	close(slave);
	ssize_t n = read(master, b, sizeof b);
	observe("read what was written: %zd", n);
	fails(read(master, b, sizeof b), EIO);
	poll(&f, 1, 0);
	observe("hung up %d", !!(f.revents & POLLHUP));
	slave = must(open(ptsname(master), O_RDWR | O_NOCTTY));
	f.revents = 0;
	observe("opened again: %s", result(poll(&f, 1, 0)));
	return contract_end();
}
