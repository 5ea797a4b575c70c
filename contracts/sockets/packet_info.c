/*
 * sockets/packet_info: control messages of datagrams: where they were sent to, with which TTL and class, and when they came.
 *
 * Catches: control messages that are missing, doubled, in the wrong form, or of the wrong datagram; options of a send that are ignored.
 */
#include "contract.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>

static const char *number(const void *p, int n)
{
	static char t[4][16];
	static int next;
	int v = 0;
	memcpy(&v, p, n > 4 ? 4 : n);
	snprintf(t[next & 3], 16, "%d", v);
	return t[next++ & 3];
}

static void show(int s)
{
	char b[16], room[512], t[64];
	struct iovec v = { b, sizeof b };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room };
	must(recvmsg(s, &m, 0));
	observe("datagram \"%.*s\", flags %#x", 3, b, m.msg_flags);
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
		int n = c->cmsg_len - CMSG_LEN(0);
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			struct in_pktinfo *i = (void *)CMSG_DATA(c);
			observe("  IP_PKTINFO of %d: index %d, to %s", n, i->ipi_ifindex, inet_ntoa(i->ipi_addr));
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
			struct in6_pktinfo *i = (void *)CMSG_DATA(c);
			observe("  IPV6_PKTINFO of %d: index %d, to %s", n, (int)i->ipi6_ifindex, inet_ntop(AF_INET6, &i->ipi6_addr, t, sizeof t));
		} else if (c->cmsg_level == SOL_SOCKET) {
			struct timeval *tv = (void *)CMSG_DATA(c), now;
			gettimeofday(&now, NULL);
			observe("  time of type %d, %d bytes, not long ago %d", c->cmsg_type, n, now.tv_sec - tv->tv_sec < 60 && now.tv_sec >= tv->tv_sec);
		} else {
			observe("  level %d type %d, %d bytes: %s", c->cmsg_level, c->cmsg_type, n, number(CMSG_DATA(c), n));
		}
	}
}

static void on(int s, int level, int o)
{
	int v = 1;
	must(setsockopt(s, level, o, &v, sizeof v));
}

static ssize_t send_with(int s, const void *to, socklen_t n, int level, int type, int value)
{
	char room[CMSG_SPACE(sizeof value)] = { 0 };
	struct iovec v = { "ttl", 3 };
	struct msghdr m = { .msg_name = (void *)to, .msg_namelen = n, .msg_iov = &v, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	*c = (struct cmsghdr){ .cmsg_level = level, .cmsg_type = type, .cmsg_len = CMSG_LEN(sizeof value) };
	memcpy(CMSG_DATA(c), &value, sizeof value);
	return sendmsg(s, &m, 0);
}

int main(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET }, to;
	struct sockaddr_in6 a6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	socklen_t n = sizeof a;
	int s = must(socket(AF_INET, SOCK_DGRAM, 0)), c = must(socket(AF_INET, SOCK_DGRAM, 0));
	must(bind(s, (void *)&a, sizeof a)), must(getsockname(s, (void *)&a, &n));
	to = a;
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	must(sendto(c, "one", 3, 0, (void *)&to, sizeof to));
	show(s);
	on(s, IPPROTO_IP, IP_PKTINFO), on(s, IPPROTO_IP, IP_RECVTTL), on(s, IPPROTO_IP, IP_RECVTOS);
	int tos = 0x10;
	must(setsockopt(c, IPPROTO_IP, IP_TOS, &tos, sizeof tos));
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 4);
	must(sendto(c, "two", 3, 0, (void *)&to, sizeof to));
	show(s);
	int ttl = 42;
	must(setsockopt(c, IPPROTO_IP, IP_TTL, &ttl, sizeof ttl));
	must(sendto(c, "old", 3, 0, (void *)&to, sizeof to));
	show(s);
	observe("TTL for one datagram: %s", result(send_with(c, &to, sizeof to, IPPROTO_IP, IP_TTL, 7)));
	show(s);
	must(sendto(c, "old", 3, 0, (void *)&to, sizeof to));
	show(s);
	fails(send_with(c, &to, sizeof to, IPPROTO_IP, IP_TTL, 256), EINVAL);
	fails(send_with(c, &to, sizeof to, IPPROTO_IP, 200, 1), EINVAL);

	int st = must(socket(AF_INET, SOCK_DGRAM, 0));
	a.sin_port = 0;
	must(bind(st, (void *)&a, sizeof a)), must(getsockname(st, (void *)&to, &n));
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	on(st, SOL_SOCKET, SO_TIMESTAMP);
	must(sendto(c, "now", 3, 0, (void *)&to, sizeof to));
	show(st);

	int s6 = must(socket(AF_INET6, SOCK_DGRAM, 0)), c6 = must(socket(AF_INET6, SOCK_DGRAM, 0));
	n = sizeof a6;
	must(bind(s6, (void *)&a6, sizeof a6)), must(getsockname(s6, (void *)&a6, &n));
	on(s6, IPPROTO_IPV6, IPV6_RECVPKTINFO), on(s6, IPPROTO_IPV6, IPV6_RECVHOPLIMIT);
	must(sendto(c6, "six", 3, 0, (void *)&a6, sizeof a6));
	show(s6);
	observe("hop limit for one: %s", result(send_with(c6, &a6, sizeof a6, IPPROTO_IPV6, IPV6_HOPLIMIT, 3)));
	show(s6);
	return contract_end();
}
