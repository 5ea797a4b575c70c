/*
 * sockets/unix_datagram: AF_UNIX datagrams: borders, names of senders, connected and unconnected, full queues, dead peers.
 *
 * Catches: datagrams without their sender's name, a connected socket that takes strangers' mail, senders that never wait, errors told to the wrong call.
 */
#include "contract.h"
#include <poll.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

static struct sockaddr_un name(const char *p)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	strcpy(a.sun_path, p);
	return a;
}

static int bound(const char *p)
{
	struct sockaddr_un a = name(p);
	int s = must(socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0));
	must(bind(s, (void *)&a, sizeof a));
	return s;
}

int main(void)
{
	struct sockaddr_un a = name("a"), b = name("b"), from;
	char buf[64];
	socklen_t n;
	int sa = bound("a"), sb = bound("b"), anon = must(socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0));

	observe("to a: %s", result(sendto(sb, "first", 5, 0, (void *)&a, sizeof a)));
	observe("to a, empty: %s", result(sendto(sb, "", 0, 0, (void *)&a, sizeof a)));
	observe("to a, nameless sender: %s", result(sendto(anon, "third", 5, 0, (void *)&a, sizeof a)));
	for (int i = 0; i < 4; i++) {
		n = sizeof from;
		memset(&from, 0, sizeof from);
		memset(buf, 0, sizeof buf);
		ssize_t r = recvfrom(sa, buf, sizeof buf, 0, (void *)&from, &n);
		observe("received %s \"%s\" from \"%s\", length %d", result(r), buf, r < 0 ? "" : from.sun_path, r < 0 ? -1 : (int)n);
	}
	fails(send(anon, "x", 1, 0), ENOTCONN);
	fails(sendto(anon, "x", 1, 0, (void *)&(struct sockaddr_un){ .sun_family = AF_UNIX, .sun_path = "nobody" }, sizeof a), ENOENT);
	fails(listen(sa, 1), EOPNOTSUPP);
	fails(accept(sa, NULL, NULL), EOPNOTSUPP);

	/* Connected: only the peer may send here. */
	must(connect(sa, (void *)&b, sizeof b));
	fails(sendto(anon, "x", 1, 0, (void *)&a, sizeof a), EPERM);
	fails(connect(anon, (void *)&a, sizeof a), EPERM);
	observe("the peer may: %s", result(sendto(sb, "y", 1, 0, (void *)&a, sizeof a)));
	observe("send without address: %s, peer reads %s", result(send(sa, "z", 1, 0)), result(read(sb, buf, sizeof buf)));
	observe("an address wins over the peer: %s", result(sendto(sa, "w", 1, 0, (void *)&b, sizeof b)));
	struct sockaddr none = { .sa_family = AF_UNSPEC };
	observe("disconnect: %s", result(connect(sa, &none, sizeof none)));
	fails(send(sa, "x", 1, 0), ENOTCONN);

	/* Messages larger than the send buffer are refused at once; what fits is bounded. */
	static char big[300000];
	fails(sendto(sa, big, sizeof big, 0, (void *)&b, sizeof b), EMSGSIZE);
	observe("100000 bytes: %s", result(sendto(sa, big, 100000, 0, (void *)&b, sizeof b)));
	observe("read: %s, then %s", result(read(sb, big, sizeof big)), result(read(sb, big, sizeof big)));

	/* A receiver that does not read makes senders wait; poll tells them when it has. */
	must(connect(anon, (void *)&b, sizeof b));
	int sent = 0;
	while (sent < 100000 && send(anon, "m", 1, 0) == 1)
		sent++;
	observe("the queue is full: %s, some were taken %d, not very many %d", errno_name(errno), sent > 2, sent < 1000);
	struct pollfd p = { .fd = anon, .events = POLLOUT };
	observe("poll: %d", poll(&p, 1, 0));
	for (int i = 0; i < sent; i++)
		must(read(sb, buf, 1));
	observe("after reading, poll: %d, %#x", poll(&p, 1, 0), p.revents);
	must(fcntl(anon, F_SETFL, 0));
	pid_t child = must(fork());
	if (child == 0) {
		for (int i = 0; i < sent + 20; i++)
			must(send(anon, "m", 1, 0));
		_exit(0);
	}
	wait_until(asleep(child, child));
	for (int i = 0; i < sent + 20; i++)
		while (read(sb, buf, 1) < 0)
			;
	observe("a blocked sender went on: %s", reap(child));

	/* The peer goes away: told once, then there is none. */
	close(sb);
	fails(send(anon, "x", 1, 0), ECONNREFUSED);
	fails(send(anon, "x", 1, 0), ENOTCONN);
	fails(sendto(anon, "x", 1, 0, (void *)&b, sizeof b), ECONNREFUSED);
	return contract_end();
}
