/*
 * events/poll_states: what poll, ppoll and select say of pipes, files, closed and hung-up descriptors.
 *
 * Catches: POLLHUP without its data, POLLNVAL missing, files that are not always ready, masks of ppoll that stay.
 */
#include "contract.h"
#include <poll.h>
#include <sys/select.h>

static const char *bits(int r)
{
	static char t[4][64];
	static int n;
	char *b = t[n++ & 3];
	snprintf(b, 64, "%s%s%s%s%s%s", r & POLLIN ? "IN " : "", r & POLLOUT ? "OUT " : "", r & POLLERR ? "ERR " : "", r & POLLHUP ? "HUP " : "", r & POLLNVAL ? "NVAL " : "", r & POLLPRI ? "PRI " : "");
	return b;
}

static void show(const char *what, int fd, int events)
{
	struct pollfd p = { .fd = fd, .events = events, .revents = -1 };
	int n = poll(&p, 1, 0);
	observe("%s: %s, %s", what, result(n), bits(p.revents));
}

static volatile int ran;
static void handler(int s) { ran = s; }

int main(void)
{
	int p[2], q[2];
	static char block[65536];
	must(pipe(p));
	show("empty pipe, reader", p[0], POLLIN | POLLOUT);
	show("empty pipe, writer", p[1], POLLIN | POLLOUT);
	write(p[1], block, sizeof block);
	show("full pipe, reader", p[0], POLLIN | POLLOUT);
	show("full pipe, writer", p[1], POLLIN | POLLOUT);
	show("nothing asked", p[0], 0);
	close(p[1]);
	show("writer gone, data left", p[0], POLLIN);
	read(p[0], block, sizeof block);
	show("writer gone", p[0], POLLIN);
	must(pipe(q));
	close(q[0]);
	show("reader gone", q[1], POLLOUT);
	int fd = must(open("file", O_RDWR | O_CREAT, 0600));
	show("file", fd, POLLIN | POLLOUT);
	show("/dev/null", must(open("/dev/null", O_RDWR)), POLLIN | POLLOUT);
	show("closed descriptor", 99, POLLIN);
	show("negative", -1, POLLIN);
	must(pipe(p));
	struct pollfd three[3] = { { p[0], POLLIN, 0 }, { p[1], POLLOUT, 0 }, { 99, POLLIN, 0 } };
	observe("three: %s", result(poll(three, 3, 1000)));
	long long t = clock_ns(CLOCK_MONOTONIC);
	observe("timeout: %s", result(poll(three, 1, 30)));
	require(clock_ns(CLOCK_MONOTONIC) - t >= 30000000, "waits its time");
	fails(syscall(SYS_ppoll, (void *)8, 1, NULL, NULL, 8), EFAULT);

	pid_t c = must(fork());
	if (c == 0) {
		wait_until(asleep(getppid(), getppid()));
		write(p[1], "x", 1);
		_exit(0);
	}
	observe("woken: %s", result(poll(three, 1, -1)));
	observe("  %s, writer %s", bits(three[0].revents), reap(c));

	signal(SIGUSR1, handler);
	sigset_t block1, none;
	sigemptyset(&none);
	sigemptyset(&block1);
	sigaddset(&block1, SIGUSR1);
	sigprocmask(SIG_BLOCK, &block1, NULL);
	raise(SIGUSR1);
	three[0].events = 0;
	fails(ppoll(three, 1, NULL, &none), EINTR);
	sigset_t now;
	sigprocmask(SIG_SETMASK, NULL, &now);
	observe("ppoll: handled %d, mask back %d", ran, sigismember(&now, SIGUSR1));

	fd_set r, w, e;
	FD_ZERO(&r);
	FD_ZERO(&w);
	FD_ZERO(&e);
	FD_SET(p[0], &r);
	FD_SET(q[1], &r);
	FD_SET(p[1], &w);
	FD_SET(p[0], &e);
	struct timeval tv = { 5, 0 };
	int n = select(50, &r, &w, &e, &tv);
	observe("select: %d: %d %d %d %d", n, FD_ISSET(p[0], &r), FD_ISSET(q[1], &r), FD_ISSET(p[1], &w), FD_ISSET(p[0], &e));
	FD_ZERO(&r);
	FD_SET(40, &r); /* beyond the size of its table Linux does not look */
	fails(select(41, &r, NULL, NULL, &tv), EBADF);
	fails(select(-1, NULL, NULL, NULL, &tv), EINVAL);
	tv = (struct timeval){ 0, 20000 };
	observe("select as a sleep: %s, left %ld", result(select(0, NULL, NULL, NULL, &tv)), (long)tv.tv_usec);
	return contract_end();
}
