/*
 * sockets/rights_in_flight: descriptors inside messages: limits, peeking, close-on-exec, and sockets that only each other's queues hold.
 *
 * Catches: descriptors lost or leaked when a message is peeked at, cut or dropped; cycles that are never collected; a bound that is not kept.
 */
#include "contract.h"
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>

static ssize_t pass(int s, const int *fds, int n)
{
	static char room[CMSG_SPACE(sizeof(int) * 300)];
	struct iovec v = { "x", 1 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = room, .msg_controllen = CMSG_SPACE(sizeof(int) * n) };
	memset(room, 0, sizeof room);
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	*c = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int) * n) };
	memcpy(CMSG_DATA(c), fds, sizeof(int) * n);
	return sendmsg(s, &m, 0);
}

static int take(int s, int *fds, int room, int flags, int *got, ssize_t *r)
{
	static char control[CMSG_SPACE(sizeof(int) * 300)];
	char b[16];
	struct iovec v = { b, sizeof b };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = room ? CMSG_LEN(sizeof(int) * room) : 0 };
	*r = recvmsg(s, &m, flags);
	*got = m.msg_flags;
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	if (*r < 0 || !c || c->cmsg_type != SCM_RIGHTS)
		return 0;
	int n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	memcpy(fds, CMSG_DATA(c), n * sizeof(int));
	return n;
}

static int hung_up(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	poll(&p, 1, 0);
	return !!(p.revents & POLLHUP);
}

int main(void)
{
	int s[2], p[2], fds[300], got, n;
	ssize_t r;
	char b;
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, s));

	/* Reading stops behind a message with descriptors, and at one. */
	must(pipe(p));
	must(write(s[0], "ab", 2));
	must(pass(s[0], &p[1], 1));
	must(write(s[0], "cd", 2));
	n = take(s[1], fds, 4, 0, &got, &r);
	observe("first: %zd bytes, %d descriptors", r, n);
	close(fds[0]);
	n = take(s[1], fds, 4, 0, &got, &r);
	observe("then: %zd bytes, %d descriptors", r, n);

	/* Peeking makes copies; the originals stay. */
	must(pass(s[0], &p[1], 1));
	n = take(s[1], fds, 4, MSG_PEEK | MSG_CMSG_CLOEXEC, &got, &r);
	observe("peek: %zd bytes, %d descriptors, close-on-exec %d", r, n, fcntl(fds[0], F_GETFD));
	close(p[1]);
	must(write(fds[0], "P", 1));
	close(fds[0]);
	must(read(p[0], &b, 1));
	observe("still in flight: hung up %d", hung_up(p[0]));
	n = take(s[1], fds, 4, 0, &got, &r);
	observe("taken: %d descriptors, close-on-exec %d", n, fcntl(fds[0], F_GETFD));
	close(fds[0]);
	observe("closed: hung up %d", hung_up(p[0]));

	/* No room at all: the descriptors are closed, not leaked. */
	must(pipe(p));
	must(pass(s[0], &p[1], 1));
	close(p[1]);
	n = take(s[1], fds, 0, 0, &got, &r);
	observe("no room: %d descriptors, MSG_CTRUNC %d, hung up %d", n, !!(got & MSG_CTRUNC), hung_up(p[0]));
	must(pipe(p));
	must(pass(s[0], &p[1], 1));
	close(p[1]);
	observe("read(2) drops them: %s, hung up %d", result(read(s[1], &b, 1)), hung_up(p[0]));

	for (int i = 0; i < 300; i++)
		fds[i] = 1;
	fails(pass(s[0], fds, 254), EINVAL);
	observe("253 at once: %s", result(pass(s[0], fds, 253)));
	n = take(s[1], fds, 300, 0, &got, &r);
	observe("  got %d, cut %d", n, !!(got & MSG_CTRUNC));
	for (int i = 0; i < n; i++)
		close(fds[i]);

	/* More than RLIMIT_NOFILE lets the receiver have. */
	struct rlimit old, low;
	must(getrlimit(RLIMIT_NOFILE, &old));
	low = old;
	for (int i = 0; i < 10; i++)
		fds[i] = 1;
	must(pass(s[0], fds, 10));
	low.rlim_cur = must(dup(1)) + 4;
	close(low.rlim_cur - 4);
	must(setrlimit(RLIMIT_NOFILE, &low));
	n = take(s[1], fds, 10, 0, &got, &r);
	observe("at the limit: got %d of 10, cut %d", n, !!(got & MSG_CTRUNC));
	must(setrlimit(RLIMIT_NOFILE, &old));
	for (int i = 0; i < n; i++)
		close(fds[i]);

	/* A socket in its own queue, with the only end of a pipe beside it. Both ends are closed: nobody can ever receive it. */
	int c[2], again[2];
	must(pipe(p));
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, c));
	must(pass(c[0], &p[1], 1));
	must(pass(c[0], &c[1], 1));
	must(pass(c[1], &c[0], 1));
	close(p[1]), close(c[0]), close(c[1]);
	/* Closing any socket sets the collector off, now or soon. */
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, again));
	close(again[0]), close(again[1]);
	wait_until(hung_up(p[0]));
	observe("a cycle was collected");

	/* The same with a listening socket: what waits in its backlog counts. */
	int l = must(socket(AF_UNIX, SOCK_STREAM, 0)), k = must(socket(AF_UNIX, SOCK_STREAM, 0));
	struct { sa_family_t f; char n[6]; } a = { AF_UNIX, "\0loop" };
	must(bind(l, (void *)&a, 7));
	must(listen(l, 1));
	must(connect(k, (void *)&a, 7));
	must(pipe(p));
	int both[2] = { l, p[1] };
	must(pass(k, both, 2));
	close(p[1]), close(l), close(k);
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, again));
	close(again[0]), close(again[1]);
	wait_until(hung_up(p[0]));
	observe("and one through a backlog");

	/* What can still be reached is not garbage: the socket in flight is received and works. */
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, c));
	must(pass(s[0], &c[1], 1));
	must(pass(c[0], &c[0], 1));
	close(c[0]), close(c[1]);
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, again));
	close(again[0]), close(again[1]);
	n = take(s[1], fds, 1, 0, &got, &r);
	observe("reachable: got %d", n);
	n = take(fds[0], fds + 1, 1, 0, &got, &r);
	observe("and what is in its queue: got %d, writes %s", n, result(write(fds[1], "w", 1)));
	observe("  read %s", result(read(fds[0], &b, 1)));
	return contract_end();
}
