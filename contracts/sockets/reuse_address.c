/*
 * sockets/reuse_address: which sockets may share a port: SO_REUSEADDR, SO_REUSEPORT, addresses that overlap, connections that have ended.
 *
 * Catches: a port given out twice, a server that cannot start again, one connection delivered to two listeners.
 */
#include "contract.h"
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

static int make(int type, int option)
{
	int on = 1, s = must(socket(AF_INET, type, 0));
	if (option)
		must(setsockopt(s, SOL_SOCKET, option, &on, sizeof on));
	return s;
}

static int bind_to(int s, uint32_t addr, uint16_t port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = port, .sin_addr.s_addr = htonl(addr) };
	return bind(s, (void *)&a, sizeof a);
}

static uint16_t port_of(int s)
{
	struct sockaddr_in a;
	socklen_t n = sizeof a;
	must(getsockname(s, (void *)&a, &n));
	return a.sin_port;
}

int main(void)
{
	int a = make(SOCK_STREAM, 0);
	must(bind_to(a, INADDR_LOOPBACK, 0));
	uint16_t port = port_of(a);
	observe("the kernel's choice: %d", ntohs(port) >= 1024);
	fails(bind_to(make(SOCK_STREAM, 0), INADDR_LOOPBACK, port), EADDRINUSE);
	fails(bind_to(make(SOCK_STREAM, 0), INADDR_ANY, port), EADDRINUSE);
	observe("another address: %s", result(bind_to(make(SOCK_STREAM, 0), INADDR_LOOPBACK + 1, port)));
	observe("another protocol: %s", result(bind_to(make(SOCK_DGRAM, 0), INADDR_LOOPBACK, port)));
	fails(bind_to(make(SOCK_STREAM, SO_REUSEADDR), INADDR_LOOPBACK, port), EADDRINUSE);

	/* Both say so: sharing is fine until one listens. */
	a = make(SOCK_STREAM, SO_REUSEADDR);
	must(bind_to(a, INADDR_LOOPBACK, 0));
	port = port_of(a);
	int b = make(SOCK_STREAM, SO_REUSEADDR);
	observe("SO_REUSEADDR on both: %s", result(bind_to(b, INADDR_LOOPBACK, port)));
	must(listen(a, 4));
	fails(listen(b, 4), EADDRINUSE);
	fails(bind_to(make(SOCK_STREAM, SO_REUSEADDR), INADDR_LOOPBACK, port), EADDRINUSE);
	fails(bind_to(make(SOCK_STREAM, SO_REUSEADDR), INADDR_ANY, port), EADDRINUSE);

	/* A server that has closed first starts again at once only with SO_REUSEADDR. */
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = port, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int c = make(SOCK_STREAM, 0);
	must(connect(c, (void *)&to, sizeof to));
	int d = must(accept(a, NULL, NULL));
	close(d);
	struct pollfd p = { .fd = c, .events = POLLIN };
	must(poll(&p, 1, 10000));
	char x;
	observe("the client sees the end: %s", result(read(c, &x, 1)));
	close(c), close(a), close(b);
	fails(bind_to(make(SOCK_STREAM, 0), INADDR_LOOPBACK, port), EADDRINUSE);
	a = make(SOCK_STREAM, SO_REUSEADDR);
	observe("with SO_REUSEADDR: %s, listen %s", result(bind_to(a, INADDR_LOOPBACK, port)), result(listen(a, 4)));
	close(a);

	/* Several listeners with SO_REUSEPORT share the connections. */
	a = make(SOCK_STREAM, SO_REUSEPORT);
	must(bind_to(a, INADDR_LOOPBACK, 0));
	to.sin_port = port = port_of(a);
	b = make(SOCK_STREAM, SO_REUSEPORT);
	observe("SO_REUSEPORT on both: %s", result(bind_to(b, INADDR_LOOPBACK, port)));
	fails(bind_to(make(SOCK_STREAM, 0), INADDR_LOOPBACK, port), EADDRINUSE);
	fails(bind_to(make(SOCK_STREAM, SO_REUSEADDR), INADDR_LOOPBACK, port), EADDRINUSE);
	must(listen(a, 64)), must(listen(b, 64));
	fcntl(a, F_SETFL, O_NONBLOCK), fcntl(b, F_SETFL, O_NONBLOCK);
	int got[2] = { 0, 0 };
	for (int i = 0; i < 40; i++)
		must(connect(make(SOCK_STREAM, 0), (void *)&to, sizeof to));
	struct pollfd both[2] = { { .fd = a, .events = POLLIN }, { .fd = b, .events = POLLIN } };
	while (got[0] + got[1] < 40 && poll(both, 2, 5000) > 0) {
		while (accept(a, NULL, NULL) >= 0)
			got[0]++;
		while (accept(b, NULL, NULL) >= 0)
			got[1]++;
	}
	observe("40 connections: all accepted %d, by both %d", got[0] + got[1] == 40, got[0] > 0 && got[1] > 0);

	/* Datagrams. */
	a = make(SOCK_DGRAM, SO_REUSEADDR), b = make(SOCK_DGRAM, SO_REUSEADDR);
	must(bind_to(a, INADDR_LOOPBACK, 0));
	observe("UDP, SO_REUSEADDR on both: %s", result(bind_to(b, INADDR_LOOPBACK, port_of(a))));
	fails(bind_to(make(SOCK_DGRAM, 0), INADDR_LOOPBACK, port_of(a)), EADDRINUSE);
	fails(bind_to(make(SOCK_DGRAM, SO_REUSEPORT), INADDR_LOOPBACK, port_of(a)), EADDRINUSE);

	pid_t child = must(fork());
	if (child == 0) {
		must(setresuid(1000, 1000, 1000));
		fails(bind_to(make(SOCK_STREAM, 0), INADDR_LOOPBACK, htons(80)), EACCES);
		_exit(0);
	}
	reap(child);
	return contract_end();
}
