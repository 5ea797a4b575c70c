/*
 * sockets/ipv6: AF_INET6 over the loopback: TCP and UDP, IPV6_V6ONLY, and IPv4 peers in IPv6 clothes.
 *
 * Catches: mapped addresses in the wrong form, V6ONLY that is ignored or can be changed late, ports that collide across the families when they must not.
 */
#include "contract.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

static const char *text(const struct sockaddr_in6 *a)
{
	static char t[4][64];
	static int next;
	return inet_ntop(AF_INET6, &a->sin6_addr, t[next++ & 3], 64);
}

static int v6only(int s)
{
	int v = -1;
	socklen_t n = sizeof v;
	must(getsockopt(s, IPPROTO_IPV6, IPV6_V6ONLY, &v, &n));
	return v;
}

int main(void)
{
	struct sockaddr_in6 a = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT }, peer, any = { .sin6_family = AF_INET6 };
	socklen_t n = sizeof a;
	char b[8];
	int on = 1, l = must(socket(AF_INET6, SOCK_STREAM, 0));
	must(bind(l, (void *)&a, sizeof a));
	must(getsockname(l, (void *)&a, &n));
	observe("bound: %s, length %d, flow %u, scope %u", text(&a), (int)n, a.sin6_flowinfo, a.sin6_scope_id);
	must(listen(l, 4));
	int c = must(socket(AF_INET6, SOCK_STREAM, 0));
	must(connect(c, (void *)&a, sizeof a));
	n = sizeof peer;
	int d = must(accept(l, (void *)&peer, &n));
	observe("accepted from %s, length %d", text(&peer), (int)n);
	observe("data: %s %s", result(write(c, "v6", 2)), result(read(d, b, 8)));
	close(c), close(d), close(l);

	/* A socket for both families. */
	l = must(socket(AF_INET6, SOCK_STREAM, 0));
	observe("IPV6_V6ONLY %d", v6only(l));
	must(bind(l, (void *)&any, sizeof any));
	n = sizeof any;
	must(getsockname(l, (void *)&any, &n));
	observe("any: %s", text(&any));
	fails(setsockopt(l, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on), EINVAL);
	must(listen(l, 4));
	struct sockaddr_in four = { .sin_family = AF_INET, .sin_port = any.sin6_port, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	c = must(socket(AF_INET, SOCK_STREAM, 0));
	observe("from IPv4: %s", result(connect(c, (void *)&four, sizeof four)));
	n = sizeof peer;
	d = must(accept(l, (void *)&peer, &n));
	observe("the peer: %s", text(&peer));
	must(getsockname(d, (void *)&peer, &n));
	observe("this end: %s", text(&peer));
	close(c), close(d);
	int clash = must(socket(AF_INET, SOCK_STREAM, 0));
	fails(bind(clash, (void *)&four, sizeof four), EADDRINUSE);

	/* An IPv6 socket that connects to an IPv4 address. */
	struct sockaddr_in6 mapped = { .sin6_family = AF_INET6, .sin6_port = any.sin6_port };
	inet_pton(AF_INET6, "::ffff:127.0.0.1", &mapped.sin6_addr);
	c = must(socket(AF_INET6, SOCK_STREAM, 0));
	observe("to a mapped address: %s", result(connect(c, (void *)&mapped, sizeof mapped)));
	must(getpeername(c, (void *)&peer, &n));
	observe("the peer: %s", text(&peer));
	d = must(accept(l, NULL, NULL));
	close(c), close(d);
	c = must(socket(AF_INET6, SOCK_STREAM, 0));
	must(setsockopt(c, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on));
	observe("V6ONLY %d", v6only(c));
	fails(connect(c, (void *)&mapped, sizeof mapped), ENETUNREACH);
	fails(connect(c, (void *)&four, sizeof four), EINVAL);
	struct sockaddr_in6 wrong = mapped;
	wrong.sin6_family = AF_INET;
	fails(connect(c, (void *)&wrong, sizeof wrong), EAFNOSUPPORT);
	close(l);

	/* V6ONLY leaves the port to IPv4. */
	l = must(socket(AF_INET6, SOCK_STREAM, 0));
	must(setsockopt(l, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on));
	any.sin6_port = 0;
	must(bind(l, (void *)&any, sizeof any));
	n = sizeof any;
	must(getsockname(l, (void *)&any, &n));
	must(listen(l, 1));
	four.sin_port = any.sin6_port;
	int l4 = must(socket(AF_INET, SOCK_STREAM, 0));
	observe("the same port for IPv4: %s", result(bind(l4, (void *)&four, sizeof four)));
	c = must(socket(AF_INET, SOCK_STREAM, 0));
	fails(connect(c, (void *)&four, sizeof four), ECONNREFUSED);

	int u = must(socket(AF_INET6, SOCK_DGRAM, 0)), v = must(socket(AF_INET, SOCK_DGRAM, 0));
	any.sin6_port = 0;
	must(bind(u, (void *)&any, sizeof any));
	n = sizeof any;
	must(getsockname(u, (void *)&any, &n));
	four.sin_port = any.sin6_port;
	must(sendto(v, "x", 1, 0, (void *)&four, sizeof four));
	n = sizeof peer;
	must(recvfrom(u, b, 8, 0, (void *)&peer, &n));
	peer.sin6_port = 0;
	observe("a datagram from IPv4: %s", text(&peer));
	a.sin6_port = any.sin6_port;
	observe("to itself: %s", result(sendto(u, "y", 1, 0, (void *)&a, sizeof a)));
	must(recvfrom(u, b, 8, 0, (void *)&peer, &n));
	observe("from %s", text(&peer));
	fails(sendto(u, "y", 1, 0, (void *)&a, 20), EINVAL);
	return contract_end();
}
