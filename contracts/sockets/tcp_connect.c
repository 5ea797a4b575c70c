/*
 * sockets/tcp_connect: connections that are made without waiting, refused, repeated and dissolved.
 *
 * Catches: SO_ERROR that is lost or never cleared, EALREADY and EISCONN mixed up, a socket that cannot be used after a refusal.
 */
#include "contract.h"
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

static int error_of(int s)
{
	int e = -1;
	socklen_t n = sizeof e;
	must(getsockopt(s, SOL_SOCKET, SO_ERROR, &e, &n));
	return e;
}

int main(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) }, dead = a;
	struct sockaddr none = { .sa_family = AF_UNSPEC };
	socklen_t n = sizeof a;
	char b[4];
	int l = must(socket(AF_INET, SOCK_STREAM, 0)), gone = must(socket(AF_INET, SOCK_STREAM, 0));
	must(bind(l, (void *)&a, sizeof a)), must(getsockname(l, (void *)&a, &n)), must(listen(l, 8));
	must(bind(gone, (void *)&dead, sizeof dead)), must(getsockname(gone, (void *)&dead, &n));
	close(gone);

	int s = must(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
	int r = connect(s, (void *)&a, sizeof a);
	require(r == 0 || errno == EINPROGRESS, "a connection begins");
	struct pollfd p = { .fd = s, .events = POLLOUT };
	observe("ready: %d, out %d, err %d", poll(&p, 1, 10000), !!(p.revents & POLLOUT), !!(p.revents & POLLERR));
	observe("SO_ERROR: %s", errno_name(error_of(s)));
	fails(recv(s, b, 1, 0), EAGAIN);
	int d = must(accept(l, NULL, NULL));
	must(write(d, "x", 1));
	p.events = POLLIN;
	must(poll(&p, 1, 10000));
	observe("works: %s", result(read(s, b, 4)));
	close(d), close(s);

	/* Refused, with and without waiting. */
	s = must(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
	r = connect(s, (void *)&dead, sizeof dead);
	require(r == -1 && (errno == EINPROGRESS || errno == ECONNREFUSED), "nobody is there");
	int at_once = errno == ECONNREFUSED;
	p = (struct pollfd){ .fd = s, .events = POLLIN | POLLOUT };
	if (!at_once) {
		observe("ready: %d, in %d, out %d, err %d, hup %d", poll(&p, 1, 10000), !!(p.revents & POLLIN), !!(p.revents & POLLOUT), !!(p.revents & POLLERR), !!(p.revents & POLLHUP));
		observe("SO_ERROR: %s", errno_name(error_of(s)));
		observe("then: %s", errno_name(error_of(s)));
	}
	must(fcntl(s, F_SETFL, 0));
	observe("again, waiting: %s", result(connect(s, (void *)&dead, sizeof dead)));
	observe("to somebody: %s", result(connect(s, (void *)&a, sizeof a)));
	d = must(accept(l, NULL, NULL));
	observe("works: %s %s", result(write(s, "y", 1)), result(read(d, b, 4)));

	/* AF_UNSPEC dissolves it: the peer sees a reset. */
	observe("dissolved: %s", result(connect(s, &none, sizeof none)));
	p = (struct pollfd){ .fd = d, .events = POLLIN };
	must(poll(&p, 1, 10000));
	observe("the peer: %s", result(read(d, b, 4)));
	close(d);
	observe("connected once more: %s", result(connect(s, (void *)&a, sizeof a)));
	d = must(accept(l, NULL, NULL));
	observe("works: %s %s", result(write(s, "z", 1)), result(read(d, b, 4)));
	close(s), close(d);

	/* 0.0.0.0 is this machine. */
	struct sockaddr_in any = a;
	any.sin_addr.s_addr = 0;
	s = must(socket(AF_INET, SOCK_STREAM, 0));
	observe("to 0.0.0.0: %s", result(connect(s, (void *)&any, sizeof any)));
	n = sizeof any;
	must(getpeername(s, (void *)&any, &n));
	observe("  the peer is the loopback: %d", any.sin_addr.s_addr == htonl(INADDR_LOOPBACK));
	must(getsockname(s, (void *)&any, &n));
	observe("  and so is this end: %d, with a port %d", any.sin_addr.s_addr == htonl(INADDR_LOOPBACK), any.sin_port != 0);
	close(s);

	s = must(socket(AF_INET, SOCK_STREAM, 0));
	fails(connect(s, (void *)&a, 8), EINVAL);
	fails(connect(s, (void *)&(struct sockaddr_in6){ .sin6_family = AF_INET6 }, sizeof(struct sockaddr_in6)), EAFNOSUPPORT);
	struct sockaddr_in far = { .sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(0xc0000201) };
	fails(connect(s, (void *)&far, sizeof far), ENETUNREACH);
	fails(connect(1, (void *)&a, sizeof a), ENOTSOCK);
	return contract_end();
}
