/*
 * sockets/options: SOL_SOCKET options: defaults, what is read back, which cannot be set, and lengths.
 *
 * Catches: values that are not Linux's (buffers are doubled and have minima), options that are accepted and forgotten, lengths that are written wrong.
 */
#include "contract.h"
#include <netinet/in.h>
#include <sys/socket.h>

#define OPT(x) { x, #x }
static const struct { int o; const char *name; } all[] = {
	OPT(SO_DEBUG), OPT(SO_REUSEADDR), OPT(SO_TYPE), OPT(SO_ERROR), OPT(SO_DONTROUTE), OPT(SO_BROADCAST), OPT(SO_KEEPALIVE), OPT(SO_OOBINLINE), OPT(SO_NO_CHECK),
	OPT(SO_PRIORITY), OPT(SO_REUSEPORT), OPT(SO_RCVLOWAT), OPT(SO_SNDLOWAT), OPT(SO_TIMESTAMP), OPT(SO_ACCEPTCONN), OPT(SO_TIMESTAMPNS), OPT(SO_MARK), OPT(SO_PROTOCOL), OPT(SO_DOMAIN),
	OPT(SO_RXQ_OVFL), OPT(SO_PEEK_OFF), OPT(SO_LOCK_FILTER), OPT(SO_ZEROCOPY),
};

static int get(int s, int o)
{
	int v = -77;
	socklen_t n = sizeof v;
	return getsockopt(s, SOL_SOCKET, o, &v, &n) < 0 ? -errno : v;
}

static const char *set(int s, int o, int v) { return result(setsockopt(s, SOL_SOCKET, o, &v, sizeof v)); }

static void show(int s, const char *what)
{
	for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
		observe("%s: %s %d", what, all[i].name, get(s, all[i].o));
	if (get(s, SO_TYPE) != SOCK_STREAM || get(s, SO_DOMAIN) == AF_UNIX)
		observe("%s: SO_SNDBUF %d, SO_RCVBUF %d", what, get(s, SO_SNDBUF), get(s, SO_RCVBUF));
}

int main(void)
{
	int u = must(socket(AF_UNIX, SOCK_STREAM, 0)), d = must(socket(AF_INET, SOCK_DGRAM, 0)), t = must(socket(AF_INET6, SOCK_STREAM, 0));
	show(u, "unix stream");
	show(d, "udp");
	show(t, "tcp6");

	/* On and off. */
	static const int flags[] = { SO_REUSEADDR, SO_DONTROUTE, SO_BROADCAST, SO_KEEPALIVE, SO_OOBINLINE, SO_NO_CHECK, SO_REUSEPORT, SO_TIMESTAMP, SO_RXQ_OVFL };
	for (unsigned i = 0; i < sizeof flags / sizeof *flags; i++) {
		const char *r = set(d, flags[i], 7);
		int on = get(d, flags[i]);
		set(d, flags[i], 0);
		observe("option %d: %s, on %d, off %d", flags[i], r, on, get(d, flags[i]));
	}
	/* Sizes: doubled, with minima and a maximum. */
	static const int sizes[] = { 0, 1, 1000, 2304, 5000, 100000 };
	for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		set(u, SO_SNDBUF, sizes[i]);
		set(u, SO_RCVBUF, sizes[i]);
		observe("buffers set to %d: SO_SNDBUF %d, SO_RCVBUF %d", sizes[i], get(u, SO_SNDBUF), get(u, SO_RCVBUF));
	}
	set(u, SO_SNDBUF, 1 << 30);
	int most = get(u, SO_SNDBUF);
	set(u, SO_SNDBUF, -1);
	observe("there is a maximum: %d, which a negative size is too: %d", most < 1 << 30, get(u, SO_SNDBUF) == most);
	observe("TCP: SO_SNDBUF %s, SO_RCVBUF %s", set(t, SO_SNDBUF, 50000), set(t, SO_RCVBUF, 50000));
	observe("  %d %d", get(t, SO_SNDBUF), get(t, SO_RCVBUF));

	static const int fixed[] = { SO_TYPE, SO_ERROR, SO_ACCEPTCONN, SO_PROTOCOL, SO_DOMAIN, SO_SNDLOWAT, SO_PEERCRED };
	for (unsigned i = 0; i < sizeof fixed / sizeof *fixed; i++)
		observe("set option %d: %s", fixed[i], set(u, fixed[i], 1));
	observe("no such option: %s, %s", set(u, 12345, 1), result(getsockopt(u, SOL_SOCKET, 12345, &(int){ 0 }, &(socklen_t){ 4 })));
	fails(setsockopt(u, 12345, 1, &(int){ 1 }, 4), EOPNOTSUPP);
	fails(getsockopt(u, 12345, 1, &(int){ 1 }, &(socklen_t){ 4 }), EOPNOTSUPP);
	fails(setsockopt(d, 12345, 1, &(int){ 1 }, 4), ENOPROTOOPT);
	fails(setsockopt(1, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, 4), ENOTSOCK);
	fails(setsockopt(-1, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, 4), EBADF);
	fails(setsockopt(u, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, 3), EINVAL);
	fails(setsockopt(u, SOL_SOCKET, SO_REUSEADDR, NULL, 4), EFAULT);

	/* Lengths: as much as there is room for. */
	char b[8] = "xxxxxxx";
	socklen_t n = 1;
	must(getsockopt(u, SOL_SOCKET, SO_TYPE, b, &n));
	observe("room for one: length %d, %d, next kept %d", (int)n, b[0], b[1] == 'x');
	n = 100;
	must(getsockopt(u, SOL_SOCKET, SO_TYPE, b, &n));
	observe("room for many: length %d", (int)n);
	n = -1;
	fails(getsockopt(u, SOL_SOCKET, SO_TYPE, b, &n), EINVAL);

	struct { int on, sec; } l = { 1, 42 }, got = { 0 };
	n = sizeof got;
	must(setsockopt(t, SOL_SOCKET, SO_LINGER, &l, sizeof l));
	must(getsockopt(t, SOL_SOCKET, SO_LINGER, &got, &n));
	observe("SO_LINGER: %d %d, length %d", got.on, got.sec, (int)n);
	fails(setsockopt(t, SOL_SOCKET, SO_LINGER, &l, 4), EINVAL);
	observe("SO_PRIORITY 6: %s, SO_MARK: %s", set(d, SO_PRIORITY, 6), set(d, SO_MARK, 99));
	observe("  %d %d", get(d, SO_PRIORITY), get(d, SO_MARK));
	pid_t p = must(fork());
	if (p == 0) {
		must(setresuid(1000, 1000, 1000));
		observe("without privilege: SO_PRIORITY 6 %s, 7 %s, SO_MARK %s", set(d, SO_PRIORITY, 6), set(d, SO_PRIORITY, 7), set(d, SO_MARK, 1));
		observe("  SO_SNDBUFFORCE %s, SO_DEBUG %s", set(d, SO_SNDBUFFORCE, 1000), set(d, SO_DEBUG, 1));
		_exit(0);
	}
	reap(p);
	observe("SO_RCVLOWAT 0: %s, reads back %d", set(t, SO_RCVLOWAT, 0), get(t, SO_RCVLOWAT));
	observe("SO_BINDTODEVICE: lo %s, none %s", result(setsockopt(d, SOL_SOCKET, SO_BINDTODEVICE, "lo", 2)), result(setsockopt(d, SOL_SOCKET, SO_BINDTODEVICE, "nodev", 5)));
	char dev[16] = { 0 };
	n = sizeof dev;
	must(getsockopt(d, SOL_SOCKET, SO_BINDTODEVICE, dev, &n));
	observe("  %s, length %d", dev, (int)n);
	return contract_end();
}
