/*
 * sockets/tcp_states: TCP half close, both orders of closing, and what poll and the calls answer in each state.
 *
 * Catches: a FIN that loses data or closes both ways, POLLRDHUP and POLLHUP mixed up, errors of the wrong state.
 */
#include "contract.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

static const char *events(int fd)
{
	static char text[4][64];
	static int next;
	char *b = text[next++ & 3];
	struct pollfd p = { .fd = fd, .events = POLLIN | POLLOUT | POLLRDHUP };
	poll(&p, 1, 0);
	snprintf(b, 64, "%s%s%s%s%s", p.revents & POLLIN ? "in " : "", p.revents & POLLOUT ? "out " : "", p.revents & POLLRDHUP ? "rdhup " : "", p.revents & POLLHUP ? "hup " : "",
		 p.revents & POLLERR ? "err" : "");
	return b;
}

static int has(int fd, short e)
{
	struct pollfd p = { .fd = fd, .events = e };
	poll(&p, 1, 0);
	return (p.revents & e) == e;
}

static int state(int fd)
{
	struct tcp_info i;
	socklen_t n = sizeof i;
	must(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &i, &n));
	return i.tcpi_state;
}

static struct sockaddr_in a = { .sin_family = AF_INET };
static int l;

static void pair(int s[2])
{
	s[0] = must(socket(AF_INET, SOCK_STREAM, 0));
	must(connect(s[0], (void *)&a, sizeof a));
	s[1] = must(accept(l, NULL, NULL));
}

int main(void)
{
	int s[2];
	char b[16];
	socklen_t n = sizeof a;
	signal(SIGPIPE, SIG_IGN);
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	l = must(socket(AF_INET, SOCK_STREAM, 0));
	observe("new: [%s], state %d", events(l), state(l));
	fails(read(l, b, 1), ENOTCONN);
	fails(accept(l, NULL, NULL), EINVAL);
	fails(shutdown(must(socket(AF_INET, SOCK_STREAM, 0)), SHUT_WR), ENOTCONN);
	must(bind(l, (void *)&a, sizeof a));
	must(getsockname(l, (void *)&a, &n));
	must(listen(l, 8));
	observe("listening: [%s], state %d", events(l), state(l));
	fails(read(l, b, 1), ENOTCONN);
	fails(connect(l, (void *)&a, sizeof a), EISCONN);

	pair(s);
	observe("connected: [%s] [%s], states %d %d", events(s[0]), events(s[1]), state(s[0]), state(s[1]));
	fails(connect(s[0], (void *)&a, sizeof a), EISCONN);
	must(write(s[0], "last", 4));
	must(shutdown(s[0], SHUT_WR));
	wait_until(has(s[1], POLLRDHUP));
	observe("peer has finished: [%s], state %d", events(s[1]), state(s[1]));
	wait_until(state(s[0]) == TCP_FIN_WAIT2);
	observe("the one that has: [%s]", events(s[0]));
	fails(write(s[0], "x", 1), EPIPE);
	observe("data, then end: %s %s", result(read(s[1], b, 16)), result(read(s[1], b, 16)));
	must(write(s[1], "back", 4));
	wait_until(has(s[0], POLLIN));
	observe("the other way: %s", result(read(s[0], b, 16)));
	must(shutdown(s[1], SHUT_WR));
	wait_until(has(s[0], POLLRDHUP));
	wait_until(has(s[1], POLLHUP));
	observe("both have: [%s] [%s]", events(s[0]), events(s[1]));
	observe("end on both sides: %s %s", result(read(s[0], b, 16)), result(read(s[1], b, 16)));
	close(s[0]), close(s[1]);

	pair(s);
	must(shutdown(s[0], SHUT_RD));
	observe("own reading shut: [%s], read %s", events(s[0]), result(read(s[0], b, 16)));
	observe("writing goes on: %s, peer reads %s", result(write(s[0], "w", 1)), result(read(s[1], b, 16)));
	close(s[0]), close(s[1]);

	/* Closing with data unread resets. */
	pair(s);
	must(write(s[0], "unread", 6));
	wait_until(has(s[1], POLLIN));
	close(s[1]);
	wait_until(has(s[0], POLLERR));
	observe("reset: [%s]", events(s[0]));
	fails(read(s[0], b, 1), ECONNRESET);
	observe("told once: [%s], read %s", events(s[0]), result(read(s[0], b, 1)));
	fails(write(s[0], "x", 1), EPIPE);
	fails(getpeername(s[0], (void *)&a, &n), ENOTCONN);
	close(s[0]);

	/* So does closing with SO_LINGER of no time. */
	pair(s);
	struct linger hard = { 1, 0 };
	must(setsockopt(s[0], SOL_SOCKET, SO_LINGER, &hard, sizeof hard));
	close(s[0]);
	wait_until(has(s[1], POLLERR));
	int e = 0;
	n = sizeof e;
	must(getsockopt(s[1], SOL_SOCKET, SO_ERROR, &e, &n));
	observe("SO_ERROR %s", errno_name(e));
	must(getsockopt(s[1], SOL_SOCKET, SO_ERROR, &e, &n));
	observe("taken: %s, read %s", errno_name(e), result(read(s[1], b, 1)));
	close(s[1]);

	/* A listener that closes resets what it has not accepted. */
	int c = must(socket(AF_INET, SOCK_STREAM, 0));
	must(connect(c, (void *)&a, sizeof a));
	close(l);
	wait_until(has(c, POLLERR));
	fails(read(c, b, 1), ECONNRESET);
	return contract_end();
}
