/*
 * sockets/udp: datagrams over the loopback: addresses, connected sockets, refusals, broadcast permission, sizes.
 *
 * Catches: datagrams cut or merged without a word, strangers heard by a connected socket, ICMP refusals that nobody is told of.
 */
#include "contract.h"
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

static struct sockaddr_in self(int s)
{
	struct sockaddr_in a = { 0 };
	socklen_t n = sizeof a;
	must(getsockname(s, (void *)&a, &n));
	return a;
}

static int bound(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int s = must(socket(AF_INET, SOCK_DGRAM, 0));
	must(bind(s, (void *)&a, sizeof a));
	return s;
}

static int readable(int s)
{
	struct pollfd p = { .fd = s, .events = POLLIN };
	return poll(&p, 1, 10000) == 1;
}

int main(void)
{
	int a = bound(), b = bound(), c = must(socket(AF_INET, SOCK_DGRAM, 0));
	struct sockaddr_in na = self(a), nb = self(b), from;
	static char big[70000];
	char buf[64] = { 0 };
	socklen_t n = sizeof from;

	struct sockaddr_in nc = self(c);
	observe("not bound: port %d, address %d", nc.sin_port, nc.sin_addr.s_addr);
	observe("sent: %s, empty: %s", result(sendto(c, "hello", 5, 0, (void *)&na, sizeof na)), result(sendto(c, "", 0, 0, (void *)&na, sizeof na)));
	nc = self(c);
	observe("bound by sending: port %d, any address %d", nc.sin_port != 0, nc.sin_addr.s_addr == 0);
	must(readable(a));
	observe("received: %s %s", result(recvfrom(a, buf, sizeof buf, 0, (void *)&from, &n)), buf);
	observe("  from its port %d, the loopback %d, length %d", from.sin_port == nc.sin_port, from.sin_addr.s_addr == htonl(INADDR_LOOPBACK), (int)n);
	observe("empty: %s", result(recv(a, buf, sizeof buf, 0)));
	fails(recv(a, buf, 1, MSG_DONTWAIT), EAGAIN);

	must(sendto(c, "truncated", 9, 0, (void *)&na, sizeof na));
	must(sendto(c, "next", 4, 0, (void *)&na, sizeof na));
	must(readable(a));
	int v;
	must(ioctl(a, FIONREAD, &v));
	observe("FIONREAD is the first one's length: %d", v);
	observe("peek: %s, with MSG_TRUNC %s", result(recv(a, buf, 3, MSG_PEEK)), result(recv(a, buf, 3, MSG_PEEK | MSG_TRUNC)));
	struct iovec iov = { buf, 3 };
	struct msghdr m = { .msg_name = &from, .msg_namelen = sizeof from, .msg_iov = &iov, .msg_iovlen = 1 };
	observe("cut: %s", result(recvmsg(a, &m, 0)));
	observe("  flagged %d, name length %d", !!(m.msg_flags & MSG_TRUNC), (int)m.msg_namelen);
	must(readable(a));
	observe("the rest is gone: %s", result(recv(a, buf, sizeof buf, 0)));

	/* Connected. */
	fails(send(c, "x", 1, 0), EDESTADDRREQ);
	fails(getpeername(c, (void *)&from, &n), ENOTCONN);
	must(connect(a, (void *)&nb, sizeof nb));
	must(sendto(c, "stranger", 8, 0, (void *)&na, sizeof na));
	must(sendto(b, "peer", 4, 0, (void *)&na, sizeof na));
	must(readable(a));
	memset(buf, 0, sizeof buf);
	observe("only the peer is heard: %s %s", result(recv(a, buf, sizeof buf, 0)), buf);
	observe("send: %s", result(send(a, "x", 1, 0)));
	must(readable(b));
	observe("  received %s", result(recv(b, buf, sizeof buf, 0)));
	struct sockaddr none = { .sa_family = AF_UNSPEC };
	must(connect(a, &none, sizeof none));
	fails(send(a, "x", 1, 0), EDESTADDRREQ);
	close(a);
	a = bound(); /* Linux has taken the port away that it had chosen */
	na = self(a);

	/* Nobody there: a connected socket is told by the next call. */
	int d = must(socket(AF_INET, SOCK_DGRAM, 0));
	close(b);
	must(connect(d, (void *)&nb, sizeof nb));
	must(send(d, "x", 1, 0));
	struct pollfd p = { .fd = d, .events = POLLIN };
	must(poll(&p, 1, 10000));
	observe("refused: err %d", !!(p.revents & POLLERR));
	fails(recv(d, buf, 1, 0), ECONNREFUSED);
	observe("told once: %s", result(recv(d, buf, 1, MSG_DONTWAIT)));
	must(send(d, "x", 1, 0));
	must(poll(&p, 1, 10000));
	n = sizeof v;
	must(getsockopt(d, SOL_SOCKET, SO_ERROR, &v, &n));
	observe("SO_ERROR: %s", errno_name(v));
	must(sendto(c, "x", 1, 0, (void *)&nb, sizeof nb));
	fails(recv(c, buf, 1, MSG_DONTWAIT), EAGAIN);

	fails(sendto(c, big, 65508, 0, (void *)&na, sizeof na), EMSGSIZE);
	observe("65507: %s", result(sendto(c, big, 65507, 0, (void *)&na, sizeof na)));
	must(readable(a));
	observe("  received %s", result(recv(a, big, sizeof big, 0)));
	fails(sendto(c, "x", 1, 0, (void *)&na, 8), EINVAL);
	struct sockaddr_in zero = na;
	zero.sin_port = 0;
	fails(sendto(c, "x", 1, 0, (void *)&zero, sizeof zero), EINVAL);
	fails(listen(c, 1), EOPNOTSUPP);
	fails(accept(c, NULL, NULL), EOPNOTSUPP);
	fails(shutdown(c, SHUT_RD), ENOTCONN);
	fails(bind(a, (void *)&na, sizeof na), EINVAL);
	fails(bind(c, (void *)&na, sizeof na), EINVAL);
	fails(bind(must(socket(AF_INET, SOCK_DGRAM, 0)), (void *)&na, sizeof na), EADDRINUSE);
	struct sockaddr_in other = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(0xc0000201) };
	fails(bind(must(socket(AF_INET, SOCK_DGRAM, 0)), (void *)&other, sizeof other), EADDRNOTAVAIL);

	/* A reader asleep is woken by shutdown, connected or not. */
	must(connect(d, (void *)&na, sizeof na));
	pid_t child = must(fork());
	if (child == 0) {
		observe("reader: %s", result(recv(d, buf, 1, 0)));
		_exit(0);
	}
	wait_until(asleep(child, child));
	must(shutdown(d, SHUT_RD));
	reap(child);
	must(shutdown(d, SHUT_WR));
	fails(send(d, "x", 1, MSG_NOSIGNAL), EPIPE);
	return contract_end();
}
