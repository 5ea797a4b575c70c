/*
 * sockets/icmp_ping: ICMP echo over the loopback, with a raw socket and with a datagram socket, for IPv4 and IPv6.
 *
 * Catches: echo requests without an answer, headers that are there or missing where they must not be, privileges that are not asked for.
 */
#include "contract.h"
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <sys/socket.h>

static uint16_t checksum(const void *p, size_t n)
{
	const uint8_t *b = p;
	uint32_t sum = 0;
	for (size_t i = 0; i < n; i += 2)
		sum += b[i] << 8 | (i + 1 < n ? b[i + 1] : 0);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons(~sum);
}

static int wait_for(int s)
{
	struct pollfd p = { .fd = s, .events = POLLIN };
	return poll(&p, 1, 10000) == 1;
}

int main(void)
{
	struct sockaddr_in lo = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) }, from;
	struct sockaddr_in6 lo6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	struct { struct icmphdr h; char data[8]; } q = { { .type = ICMP_ECHO, .un.echo = { .id = htons(77), .sequence = htons(1) } }, "payload" };
	uint8_t b[256];
	socklen_t n = sizeof from;

	fails(socket(AF_INET, SOCK_RAW, 0), EPROTONOSUPPORT);
	fails(socket(AF_INET, SOCK_DGRAM, IPPROTO_TCP), EPROTONOSUPPORT);
	fails(socket(AF_INET, SOCK_STREAM, IPPROTO_UDP), EPROTONOSUPPORT);
	fails(socket(AF_INET, SOCK_SEQPACKET, 0), ESOCKTNOSUPPORT);
	int r = must(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
	q.h.checksum = checksum(&q, sizeof q);
	observe("raw request: %s", result(sendto(r, &q, sizeof q, 0, (void *)&lo, sizeof lo)));
	/* A raw socket hears the request too: it came to this machine. */
	int type = -1;
	for (int i = 0; i < 2 && type != ICMP_ECHOREPLY && wait_for(r); i++) {
		ssize_t got = must(recvfrom(r, b, sizeof b, 0, (void *)&from, &n));
		struct iphdr *ip = (void *)b;
		struct icmphdr *h = (void *)(b + ip->ihl * 4);
		type = h->type;
		observe("  %d bytes, version %d, protocol %d, type %d, id %d, \"%.7s\"", (int)got, (int)ip->version, ip->protocol, h->type, ntohs(h->un.echo.id), (char *)(h + 1));
	}
	observe("from the loopback %d", from.sin_addr.s_addr == htonl(INADDR_LOOPBACK));
	pid_t p = must(fork());
	if (p == 0) {
		must(setresuid(1000, 1000, 1000));
		fails(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP), EPERM);
		fails(socket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6), EPERM);
		_exit(0);
	}
	observe("without privilege: %s", reap(p));

	/* Datagram sockets are for the groups in a file, which names none at first. */
	fails(socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP), EACCES);
	int f = must(open("/proc/sys/net/ipv4/ping_group_range", O_RDWR));
	must(write(f, "0 2147483647\n", 13));
	lseek(f, 0, SEEK_SET);
	memset(b, 0, sizeof b);
	must(read(f, b, sizeof b - 1));
	observe("groups: %s", strtok((char *)b, "\n"));
	int s = must(socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP));
	q.h.checksum = 0; /* the kernel's business, as the id is */
	q.h.un.echo.sequence = htons(2);
	observe("datagram request: %s", result(sendto(s, &q, sizeof q, 0, (void *)&lo, sizeof lo)));
	require(wait_for(s), "an answer");
	n = sizeof from;
	ssize_t got = must(recvfrom(s, b, sizeof b, 0, (void *)&from, &n));
	struct icmphdr *h = (void *)b;
	observe("  %d bytes, type %d, sequence %d, \"%.7s\", from the loopback %d", (int)got, h->type, ntohs(h->un.echo.sequence), (char *)(h + 1), from.sin_addr.s_addr == htonl(INADDR_LOOPBACK));
	n = sizeof from;
	must(getsockname(s, (void *)&from, &n));
	observe("  the id is the socket's port: %d", h->un.echo.id == from.sin_port);
	q.h.type = ICMP_ECHOREPLY;
	fails(sendto(s, &q, sizeof q, 0, (void *)&lo, sizeof lo), EINVAL);

	struct { struct icmp6_hdr h; char data[8]; } q6 = { { .icmp6_type = ICMP6_ECHO_REQUEST }, "payload" };
	q6.h.icmp6_seq = htons(3);
	s = must(socket(AF_INET6, SOCK_DGRAM, IPPROTO_ICMPV6));
	observe("IPv6 request: %s", result(sendto(s, &q6, sizeof q6, 0, (void *)&lo6, sizeof lo6)));
	require(wait_for(s), "an answer");
	got = must(recv(s, b, sizeof b, 0));
	struct icmp6_hdr *h6 = (void *)b;
	observe("  %d bytes, type %d, sequence %d, \"%.7s\"", (int)got, h6->icmp6_type, ntohs(h6->icmp6_seq), (char *)(h6 + 1));
	write(f, "1 0\n", 4);
	return contract_end();
}
