/*
 * sockets/timeouts: SO_RCVTIMEO and SO_SNDTIMEO: reads, writes and accepts that give up.
 *
 * Catches: timeouts that are ignored or come early, that are not read back, or that restart a call after a signal.
 */
#include "contract.h"
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

static void on_alarm(int s) { (void)s; }

static void limit(int s, int o, long sec, long usec)
{
	struct timeval t = { sec, usec };
	must(setsockopt(s, SOL_SOCKET, o, &t, sizeof t));
}

static void show(int s, int o)
{
	struct timeval t = { -1, -1 };
	socklen_t n = sizeof t;
	must(getsockopt(s, SOL_SOCKET, o, &t, &n));
	observe("option %d: %ld s %ld us, length %d", o, (long)t.tv_sec, (long)t.tv_usec / 10000 * 10000, (int)n);
}

int main(void)
{
	int s[2];
	char b[4];
	struct timeval t;
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	show(s[0], SO_RCVTIMEO);
	limit(s[0], SO_RCVTIMEO, 3, 500000);
	limit(s[0], SO_SNDTIMEO, 0, 60000);
	show(s[0], SO_RCVTIMEO);
	show(s[0], SO_SNDTIMEO);
	t = (struct timeval){ 0, 1000000 };
	fails(setsockopt(s[0], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t), EDOM);
	t = (struct timeval){ 0, -1 };
	fails(setsockopt(s[0], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t), EDOM);
	fails(setsockopt(s[0], SOL_SOCKET, SO_RCVTIMEO, &t, 8), EINVAL);

	limit(s[0], SO_RCVTIMEO, 0, 50000);
	long long begin = clock_ns(CLOCK_MONOTONIC);
	fails(read(s[0], b, 1), EAGAIN);
	observe("not early: %d", clock_ns(CLOCK_MONOTONIC) - begin >= 49000000);
	begin = clock_ns(CLOCK_MONOTONIC);
	fails(recv(s[0], b, 4, MSG_WAITALL), EAGAIN);
	observe("not early: %d", clock_ns(CLOCK_MONOTONIC) - begin >= 49000000);
	must(write(s[1], "ab", 2));
	observe("what came by then: %s", result(recv(s[0], b, 4, MSG_WAITALL)));

	static char big[1 << 20];
	ssize_t r = write(s[0], big, sizeof big);
	observe("a write that fills the buffer is short: %d", r > 0 && r < (ssize_t)sizeof big);
	begin = clock_ns(CLOCK_MONOTONIC);
	fails(write(s[0], big, 1), EAGAIN);
	observe("not early: %d", clock_ns(CLOCK_MONOTONIC) - begin >= 59000000);

	struct sockaddr_un a = { .sun_family = AF_UNIX, .sun_path = "l" };
	int l = must(socket(AF_UNIX, SOCK_STREAM, 0));
	must(bind(l, (void *)&a, sizeof a));
	must(listen(l, 1));
	limit(l, SO_RCVTIMEO, 0, 20000);
	fails(accept(l, NULL, NULL), EAGAIN);

	/* A signal ends a call that has a timeout, SA_RESTART or not. */
	struct sigaction sa = { .sa_handler = on_alarm, .sa_flags = SA_RESTART };
	sigaction(SIGALRM, &sa, NULL);
	limit(s[0], SO_RCVTIMEO, 20, 0);
	struct itimerval it = { { 0, 20000 }, { 0, 20000 } }, none = { 0 }; /* again and again: the first may come before the read */
	setitimer(ITIMER_REAL, &it, NULL);
	fails(read(s[0], b, 1), EINTR);
	setitimer(ITIMER_REAL, &none, NULL);
	limit(s[0], SO_RCVTIMEO, 0, 0);
	pid_t child = must(fork());
	if (child == 0) {
		sigaction(SIGALRM, &sa, NULL);
		setitimer(ITIMER_REAL, &it, NULL);
		observe("without one it is restarted: %s", result(read(s[0], b, 1)));
		_exit(0);
	}
	usleep(100000);
	wait_until(asleep(child, child));
	must(write(s[1], "x", 1));
	reap(child);
	return contract_end();
}
