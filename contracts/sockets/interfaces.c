/*
 * sockets/interfaces: the loopback as programs find it: netlink, getifaddrs, ioctl, and if_nametoindex.
 *
 * Catches: dumps without an end, sequence numbers and ports that do not fit the request, addresses and flags that are not the loopback's.
 */
#include "contract.h"
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

static int ask(int s, int type, int flags, int family, unsigned seq)
{
	struct { struct nlmsghdr h; struct rtgenmsg g; char pad[32]; } q = { .h = { NLMSG_LENGTH(sizeof(struct ifinfomsg)), type, flags, seq, 0 }, .g = { family } };
	return send(s, &q, q.h.nlmsg_len, 0);
}

int main(void)
{
	static char b[32768];
	struct sockaddr_nl a = { .nl_family = AF_NETLINK }, from;
	socklen_t n = sizeof a;
	fails(socket(AF_NETLINK, SOCK_STREAM, NETLINK_ROUTE), ESOCKTNOSUPPORT);
	fails(socket(AF_NETLINK, SOCK_RAW, 99), EPROTONOSUPPORT);
	int s = must(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
	must(bind(s, (void *)&a, sizeof a));
	must(getsockname(s, (void *)&a, &n));
	observe("address: length %d, family %d, port is the process %d", (int)n, a.nl_family == AF_NETLINK, a.nl_pid == (unsigned)getpid());
	fails(recv(s, b, sizeof b, MSG_DONTWAIT), EAGAIN);

	observe("links: %s", result(ask(s, RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, AF_UNSPEC, 7)));
	int done = 0, loopbacks = 0;
	while (!done) {
		n = sizeof from;
		ssize_t r = must(recvfrom(s, b, sizeof b, 0, (void *)&from, &n));
		require(from.nl_pid == 0, "the kernel answers");
		for (struct nlmsghdr *h = (void *)b; NLMSG_OK(h, r) && !done; h = NLMSG_NEXT(h, r)) {
			require(h->nlmsg_seq == 7 && h->nlmsg_pid == a.nl_pid && h->nlmsg_flags & NLM_F_MULTI, "the header fits the request");
			done = h->nlmsg_type == NLMSG_DONE;
			struct ifinfomsg *i = NLMSG_DATA(h);
			if (h->nlmsg_type != RTM_NEWLINK || !(i->ifi_flags & IFF_LOOPBACK))
				continue;
			loopbacks++;
			observe("index %d, up %d, running %d, type %d", i->ifi_index, !!(i->ifi_flags & IFF_UP), !!(i->ifi_flags & IFF_RUNNING), i->ifi_type);
			int left = IFLA_PAYLOAD(h);
			for (struct rtattr *t = IFLA_RTA(i); RTA_OK(t, left); t = RTA_NEXT(t, left)) {
				if (t->rta_type == IFLA_IFNAME)
					observe("  name %s", (char *)RTA_DATA(t));
				if (t->rta_type == IFLA_MTU)
					observe("  MTU %u", *(unsigned *)RTA_DATA(t));
				if (t->rta_type == IFLA_ADDRESS)
					observe("  hardware address of %d bytes", (int)RTA_PAYLOAD(t));
			}
		}
	}
	observe("one loopback: %d", loopbacks == 1);

	/* Errors and acknowledgements carry the request's number. */
	must(ask(s, RTM_GETLINK, NLM_F_REQUEST | NLM_F_ACK | NLM_F_DUMP, AF_UNSPEC, 8));
	for (done = 0; !done;) {
		ssize_t r = must(recv(s, b, sizeof b, 0));
		for (struct nlmsghdr *h = (void *)b; NLMSG_OK(h, r); h = NLMSG_NEXT(h, r))
			done = done || h->nlmsg_type == NLMSG_DONE;
	}
	struct { struct nlmsghdr h; struct ifinfomsg i; } none = { { sizeof none, RTM_GETLINK, NLM_F_REQUEST, 9, 0 }, { .ifi_index = 12345 } };
	must(send(s, &none, sizeof none, 0));
	ssize_t r = must(recv(s, b, sizeof b, MSG_PEEK | MSG_TRUNC));
	require(r > 0 && r < 4096, "a short answer");
	must(recv(s, b, sizeof b, 0));
	struct nlmsghdr *h = (void *)b;
	struct nlmsgerr *e = NLMSG_DATA(h);
	observe("no such index: type %d, error %s, number %u, of request %d", h->nlmsg_type, errno_name(-e->error), h->nlmsg_seq, e->msg.nlmsg_type);
	pid_t p = must(fork());
	if (p == 0) {
		must(setresuid(1000, 1000, 1000));
		struct { struct nlmsghdr h; struct ifaddrmsg a; } add = { { sizeof add, RTM_NEWADDR, NLM_F_REQUEST | NLM_F_ACK, 10, 0 }, { .ifa_family = AF_INET, .ifa_index = 1 } };
		must(send(s, &add, sizeof add, 0));
		must(recv(s, b, sizeof b, 0));
		observe("adding an address without privilege: %s", errno_name(-e->error));
		_exit(0);
	}
	reap(p);

	struct ifaddrs *list;
	must(getifaddrs(&list));
	for (struct ifaddrs *i = list; i; i = i->ifa_next) {
		char t[64] = "";
		if (strcmp(i->ifa_name, "lo") || !i->ifa_addr)
			continue;
		if (i->ifa_addr->sa_family == AF_INET)
			inet_ntop(AF_INET, &((struct sockaddr_in *)i->ifa_addr)->sin_addr, t, sizeof t);
		else if (i->ifa_addr->sa_family == AF_INET6)
			inet_ntop(AF_INET6, &((struct sockaddr_in6 *)i->ifa_addr)->sin6_addr, t, sizeof t);
		else
			continue;
		observe("getifaddrs: %s, family %d, loopback %d", t, i->ifa_addr->sa_family, !!(i->ifa_flags & IFF_LOOPBACK));
	}
	freeifaddrs(list);

	observe("if_nametoindex: lo %u, none %u", if_nametoindex("lo"), if_nametoindex("nosuch"));
	char name[IF_NAMESIZE] = "";
	if_indextoname(1, name);
	observe("if_indextoname: %s", name);
	int u = must(socket(AF_INET, SOCK_DGRAM, 0));
	struct ifreq q = { .ifr_name = "lo" };
	must(ioctl(u, SIOCGIFFLAGS, &q));
	observe("flags: up %d, loopback %d, broadcast %d", !!(q.ifr_flags & IFF_UP), !!(q.ifr_flags & IFF_LOOPBACK), !!(q.ifr_flags & IFF_BROADCAST));
	must(ioctl(u, SIOCGIFADDR, &q));
	observe("address %s", inet_ntoa(((struct sockaddr_in *)&q.ifr_addr)->sin_addr));
	must(ioctl(u, SIOCGIFNETMASK, &q));
	observe("mask %s", inet_ntoa(((struct sockaddr_in *)&q.ifr_addr)->sin_addr));
	must(ioctl(u, SIOCGIFMTU, &q));
	observe("MTU %d", q.ifr_mtu);
	must(ioctl(u, SIOCGIFHWADDR, &q));
	observe("hardware type %d", q.ifr_hwaddr.sa_family);
	static struct ifreq all[64];
	struct ifconf c = { .ifc_len = sizeof all, .ifc_req = all };
	must(ioctl(u, SIOCGIFCONF, &c));
	int found = 0;
	for (unsigned i = 0; i < c.ifc_len / sizeof *all; i++)
		found += !strcmp(all[i].ifr_name, "lo");
	observe("SIOCGIFCONF has it: %d", found);
	strcpy(q.ifr_name, "nosuch");
	fails(ioctl(u, SIOCGIFFLAGS, &q), ENODEV);
	return contract_end();
}
