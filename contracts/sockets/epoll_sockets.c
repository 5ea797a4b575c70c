/*
 * sockets/epoll_sockets: epoll on sockets: level, edge and one-shot; listeners, half closed and closed connections.
 *
 * Catches: edges that are lost or repeated, levels that stay silent, events of one half told for the other.
 */
#include "contract.h"
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

static int ep;

static void add(int fd, uint32_t events)
{
	struct epoll_event e = { .events = events, .data.fd = fd };
	must(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e));
}

static const char *next(void)
{
	static char text[8][80];
	static int turn;
	char *b = text[turn++ & 7];
	struct epoll_event e;
	if (epoll_wait(ep, &e, 1, 0) != 1)
		return "none";
	snprintf(b, 80, "%s%s%s%s%s", e.events & EPOLLIN ? "in " : "", e.events & EPOLLOUT ? "out " : "", e.events & EPOLLRDHUP ? "rdhup " : "", e.events & EPOLLHUP ? "hup " : "",
		 e.events & EPOLLERR ? "err" : "");
	return b;
}

int main(void)
{
	int s[2];
	char b[16];
	ep = must(epoll_create1(0));
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s));
	add(s[0], EPOLLIN);
	observe("level, nothing: %s", next());
	must(write(s[1], "abcd", 4));
	observe("level: %s, %s", next(), next());
	must(read(s[0], b, 2));
	observe("some left: %s", next());
	must(read(s[0], b, 2));
	observe("all read: %s", next());
	must(epoll_ctl(ep, EPOLL_CTL_DEL, s[0], NULL));

	add(s[0], EPOLLIN | EPOLLRDHUP | EPOLLET);
	observe("edge, nothing: %s", next());
	must(write(s[1], "ab", 2));
	observe("edge: %s, %s", next(), next());
	must(read(s[0], b, 1));
	observe("some left: %s", next());
	must(write(s[1], "c", 1));
	observe("more came: %s, %s", next(), next());
	must(read(s[0], b, 16));
	must(shutdown(s[1], SHUT_WR));
	observe("peer's half: %s, %s", next(), next());
	close(s[1]);
	observe("peer closed: %s", next());
	close(s[0]);

	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s));
	add(s[0], EPOLLIN | EPOLLOUT | EPOLLET);
	observe("edge for writing: %s, %s", next(), next());
	static char big[65536];
	while (write(s[0], big, sizeof big) > 0)
		;
	observe("full: %s", next());
	while (read(s[1], big, sizeof big) > 0)
		;
	observe("drained: %s, %s", next(), next());
	close(s[0]), close(s[1]);

	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s));
	add(s[0], EPOLLIN | EPOLLONESHOT);
	must(write(s[1], "a", 1));
	observe("one-shot: %s, %s", next(), next());
	struct epoll_event e = { .events = EPOLLIN | EPOLLONESHOT, .data.fd = s[0] };
	must(epoll_ctl(ep, EPOLL_CTL_MOD, s[0], &e));
	observe("armed again: %s", next());
	int dup_fd = must(dup(s[0]));
	must(epoll_ctl(ep, EPOLL_CTL_MOD, s[0], &e));
	close(s[0]);
	observe("a duplicate keeps it: %s", next());
	close(dup_fd), close(s[1]);

	struct sockaddr_un a = { .sun_family = AF_UNIX, .sun_path = "l" };
	int l = must(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0)), c = must(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0));
	must(bind(l, (void *)&a, sizeof a));
	must(listen(l, 4));
	add(l, EPOLLIN | EPOLLOUT);
	observe("listener: %s", next());
	must(connect(c, (void *)&a, sizeof a));
	observe("connection: %s", next());
	int d = must(accept(l, NULL, NULL));
	observe("accepted: %s", next());
	close(l);
	add(d, EPOLLIN | EPOLLRDHUP);
	must(write(d, "unread", 6));
	observe("data for the peer: %s", next());
	close(c);
	observe("peer closed with data unread: %s", next());
	fails(read(d, b, 16), ECONNRESET);
	observe("told once: %s, read %s", next(), result(read(d, b, 16)));

	/* A waiter asleep is woken by another process. */
	must(socketpair(AF_UNIX, SOCK_DGRAM, 0, s));
	must(epoll_ctl(ep, EPOLL_CTL_DEL, d, NULL));
	add(s[0], EPOLLIN);
	pid_t child = must(fork());
	if (child == 0) {
		int n = epoll_wait(ep, &e, 1, 10000);
		observe("woken: %d, %#x", n, e.events);
		_exit(0);
	}
	wait_until(asleep(child, child));
	must(write(s[1], "x", 1));
	reap(child);
	return contract_end();
}
