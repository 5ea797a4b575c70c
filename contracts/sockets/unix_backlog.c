/*
 * sockets/unix_backlog: how many connections wait to be accepted, who sleeps and who is refused.
 *
 * Catches: a backlog without bound or off by one, connects that sleep for ever, connections that cannot be used before they are accepted.
 */
#include "contract.h"
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

static struct sockaddr_un a = { .sun_family = AF_UNIX, .sun_path = "l" };

static int dial(int flags)
{
	int s = must(socket(AF_UNIX, SOCK_STREAM | flags, 0));
	if (connect(s, (void *)&a, sizeof a) == 0)
		return s;
	int e = errno;
	close(s);
	errno = e;
	return -1;
}

int main(void)
{
	char b[8] = { 0 };
	int l = must(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0));
	fails(listen(l, 1), EINVAL); /* no name */
	must(bind(l, (void *)&a, sizeof a));
	must(listen(l, 2));
	fails(accept(l, NULL, NULL), EAGAIN);
	int n = 0, c[20];
	while (n < 20 && (c[n] = dial(SOCK_NONBLOCK)) >= 0)
		n++;
	observe("backlog 2: %d connected, then %s", n, errno_name(errno));
	must(write(c[0], "hello", 5));
	struct pollfd p = { .fd = l, .events = POLLIN | POLLOUT };
	poll(&p, 1, 0);
	observe("listener: readable %d, writable %d", !!(p.revents & POLLIN), !!(p.revents & POLLOUT));

	pid_t child = must(fork());
	if (child == 0) {
		int s = dial(0);
		must(write(s, "late", 4));
		_exit(0);
	}
	wait_until(asleep(child, child));
	int d = must(accept4(l, NULL, NULL, SOCK_CLOEXEC));
	observe("first: %s %s", result(read(d, b, 8)), b);
	observe("the waiting one: %s", reap(child));
	int more = 0, fd;
	while ((fd = accept(l, NULL, NULL)) >= 0)
		more++;
	observe("then %d more, then %s", more, errno_name(errno));
	fails(accept4(l, NULL, NULL, 1), EINVAL);

	/* A larger backlog lets sleepers in; a timeout ends the others. */
	while (dial(SOCK_NONBLOCK) >= 0)
		;
	child = must(fork());
	if (child == 0) {
		dial(0);
		_exit(0);
	}
	wait_until(asleep(child, child));
	must(listen(l, 5));
	observe("larger: %s", reap(child));
	while (dial(SOCK_NONBLOCK) >= 0)
		;
	struct timeval t = { 0, 20000 };
	int s = must(socket(AF_UNIX, SOCK_STREAM, 0));
	must(setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t));
	fails(connect(s, (void *)&a, sizeof a), EAGAIN);

	/* Whoever waits is refused when the listener goes. */
	child = must(fork());
	if (child == 0) {
		close(l);
		observe("waiting when it closes: %s", result(dial(0)));
		_exit(0);
	}
	wait_until(asleep(child, child));
	close(l);
	reap(child);
	return contract_end();
}
