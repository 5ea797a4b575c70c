/*
 * sockets/protocol_options: options of levels TCP, IP and IPv6: defaults, ranges and what is read back.
 *
 * Catches: options that are accepted and forgotten, ranges that are not Linux's, levels that a socket does not have.
 */
#include "contract.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

static int get(int s, int level, int o)
{
	int v = -77;
	socklen_t n = sizeof v;
	return getsockopt(s, level, o, &v, &n) < 0 ? -1000 - errno : v;
}

static void try(int s, const char *name, int level, int o, int v)
{
	int first = get(s, level, o);
	int r = setsockopt(s, level, o, &v, sizeof v);
	observe("%s: %d, set to %d: %s, reads back %d", name, first, v, result(r), get(s, level, o));
}

#define TRY(s, level, o, v) try(s, #o, level, o, v)

int main(void)
{
	int t = must(socket(AF_INET, SOCK_STREAM, 0)), u = must(socket(AF_INET, SOCK_DGRAM, 0)), t6 = must(socket(AF_INET6, SOCK_STREAM, 0)), u6 = must(socket(AF_INET6, SOCK_DGRAM, 0));
	TRY(t, IPPROTO_TCP, TCP_NODELAY, 5);
	TRY(t, IPPROTO_TCP, TCP_CORK, 1);
	TRY(t, IPPROTO_TCP, TCP_KEEPIDLE, 100);
	TRY(t, IPPROTO_TCP, TCP_KEEPIDLE, 0);
	TRY(t, IPPROTO_TCP, TCP_KEEPIDLE, 32768);
	TRY(t, IPPROTO_TCP, TCP_KEEPINTVL, 10);
	TRY(t, IPPROTO_TCP, TCP_KEEPINTVL, 0);
	TRY(t, IPPROTO_TCP, TCP_KEEPCNT, 3);
	TRY(t, IPPROTO_TCP, TCP_KEEPCNT, 128);
	TRY(t, IPPROTO_TCP, TCP_SYNCNT, 4);
	TRY(t, IPPROTO_TCP, TCP_SYNCNT, 0);
	TRY(t, IPPROTO_TCP, TCP_USER_TIMEOUT, 5000);
	TRY(t, IPPROTO_TCP, TCP_USER_TIMEOUT, -1);
	TRY(t, IPPROTO_IP, IP_TOS, 0x10);
	TRY(t, IPPROTO_IP, IP_TTL, 33);
	TRY(t, IPPROTO_IP, IP_TTL, 256);
	TRY(t, IPPROTO_IP, IP_TTL, 0);
	TRY(t, IPPROTO_IP, IP_TTL, -1);
	TRY(u, IPPROTO_IP, IP_PKTINFO, 1);
	TRY(u, IPPROTO_IP, IP_RECVTTL, 1);
	TRY(u, IPPROTO_IP, IP_RECVTOS, 1);
	TRY(u, IPPROTO_IP, IP_MULTICAST_TTL, 7);
	TRY(u, IPPROTO_IP, IP_MULTICAST_TTL, 256);
	TRY(u, IPPROTO_IP, IP_MULTICAST_LOOP, 0);
	TRY(u, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO);
	TRY(u, IPPROTO_IP, IP_MTU_DISCOVER, 6);
	TRY(u, IPPROTO_TCP, TCP_NODELAY, 1);
	TRY(t, IPPROTO_IPV6, IPV6_V6ONLY, 1);
	TRY(t6, IPPROTO_IPV6, IPV6_V6ONLY, 1);
	TRY(t6, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 9);
	TRY(t6, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 256);
	TRY(t6, IPPROTO_IPV6, IPV6_UNICAST_HOPS, -1);
	TRY(u6, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, 3);
	TRY(u6, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, 0);
	TRY(u6, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
	TRY(u6, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1);
	TRY(u6, IPPROTO_IPV6, IPV6_TCLASS, 0x20);
	TRY(u6, IPPROTO_IPV6, IPV6_TCLASS, 256);
	TRY(t, IPPROTO_TCP, 999, 1);
	TRY(t, IPPROTO_IP, 999, 1);
	unsigned char one = 5;
	socklen_t n = 1;
	observe("level IP takes a byte: %s", result(setsockopt(u, IPPROTO_IP, IP_TTL, &one, 1)));
	must(getsockopt(u, IPPROTO_IP, IP_TTL, &one, &n));
	observe("  and answers one: %d, length %d", one, (int)n);
	fails(setsockopt(t, IPPROTO_TCP, TCP_NODELAY, &one, 1), EINVAL);

	/* What a listener was told its connections have. */
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int l = must(socket(AF_INET, SOCK_STREAM, 0)), on = 1, v = 20;
	must(setsockopt(l, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on)), must(setsockopt(l, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on));
	must(setsockopt(l, IPPROTO_TCP, TCP_KEEPIDLE, &v, sizeof v));
	must(bind(l, (void *)&a, sizeof a));
	n = sizeof a;
	must(getsockname(l, (void *)&a, &n)), must(listen(l, 1));
	int c = must(socket(AF_INET, SOCK_STREAM, 0));
	must(connect(c, (void *)&a, sizeof a));
	int d = must(accept(l, NULL, NULL));
	observe("inherited: TCP_NODELAY %d, SO_KEEPALIVE %d, TCP_KEEPIDLE %d", get(d, IPPROTO_TCP, TCP_NODELAY), get(d, SOL_SOCKET, SO_KEEPALIVE), get(d, IPPROTO_TCP, TCP_KEEPIDLE));
	struct tcp_info i;
	n = sizeof i;
	must(getsockopt(c, IPPROTO_TCP, TCP_INFO, &i, &n));
	observe("TCP_INFO: state %d, length at least 104 %d, MSS %d", i.tcpi_state, n >= 104, i.tcpi_snd_mss > 500);
	n = 1;
	must(getsockopt(c, IPPROTO_TCP, TCP_INFO, &i, &n));
	observe("  cut to %d", (int)n);
	return contract_end();
}
