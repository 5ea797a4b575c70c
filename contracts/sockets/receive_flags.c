/*
 * sockets/receive_flags: MSG_PEEK, MSG_TRUNC, MSG_WAITALL, MSG_DONTWAIT, SO_PEEK_OFF and SO_RCVLOWAT.
 *
 * Catches: peeks that consume, waits that end early or never, lengths that are cut where they must not be.
 */
#include "contract.h"
#include <sys/socket.h>

int main(void)
{
	int s[2], d[2];
	char b[32];
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	must(socketpair(AF_UNIX, SOCK_DGRAM, 0, d));
	fails(recv(s[0], b, 1, MSG_DONTWAIT), EAGAIN);
	fails(recv(d[0], b, 1, MSG_DONTWAIT), EAGAIN);

	must(write(s[1], "abcdef", 6));
	memset(b, 0, sizeof b);
	observe("stream, peek of 2: %s %s", result(recv(s[0], b, 2, MSG_PEEK)), b);
	observe("again, of all: %s %s", result(recv(s[0], b, sizeof b, MSG_PEEK)), b);
	observe("read of 4: %s", result(read(s[0], b, 4)));
	memset(b, 0, sizeof b);
	observe("the rest: %s %s", result(recv(s[0], b, sizeof b, MSG_DONTWAIT)), b);

	must(write(d[1], "datagram", 8));
	memset(b, 0, sizeof b);
	observe("datagram, peek of 3: %s %s", result(recv(d[0], b, 3, MSG_PEEK)), b);
	observe("with MSG_TRUNC: %s", result(recv(d[0], b, 3, MSG_PEEK | MSG_TRUNC)));
	observe("nothing to put it in: %s", result(recv(d[0], NULL, 0, MSG_PEEK | MSG_TRUNC)));
	observe("taken whole: %s, then %s", result(recv(d[0], b, 3, 0)), result(recv(d[0], b, 3, MSG_DONTWAIT)));

	/* MSG_WAITALL collects what comes in pieces. */
	pid_t child = must(fork());
	if (child == 0) {
		memset(b, 0, sizeof b);
		observe("waitall: %s %s", result(recv(s[0], b, 6, MSG_WAITALL)), b);
		memset(b, 0, sizeof b);
		observe("at the end of the stream: %s %s", result(recv(s[0], b, 6, MSG_WAITALL)), b);
		_exit(0);
	}
	must(write(s[1], "12", 2));
	wait_until(asleep(child, child));
	must(write(s[1], "34", 2));
	wait_until(asleep(child, child));
	must(write(s[1], "5678", 4));
	close(s[0]);
	wait_until(asleep(child, child));
	must(shutdown(s[1], SHUT_WR));
	observe("child: %s", reap(child));

	must(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	must(write(s[1], "xy", 2));
	observe("waitall without waiting: %s", result(recv(s[0], b, 6, MSG_WAITALL | MSG_DONTWAIT)));

	/* SO_RCVLOWAT */
	int low = 4, v;
	socklen_t n = sizeof v;
	must(setsockopt(s[0], SOL_SOCKET, SO_RCVLOWAT, &low, sizeof low));
	must(getsockopt(s[0], SOL_SOCKET, SO_RCVLOWAT, &v, &n));
	observe("SO_RCVLOWAT %d", v);
	child = must(fork());
	if (child == 0) {
		observe("four or more: %s", result(read(s[0], b, sizeof b)));
		_exit(0);
	}
	must(write(s[1], "ab", 2));
	wait_until(asleep(child, child));
	must(write(s[1], "cd", 2));
	observe("child: %s", reap(child));

	/* A peek offset moves through the queue; reading moves it back. */
	int off = 1;
	must(setsockopt(d[0], SOL_SOCKET, SO_PEEK_OFF, &(int){ -1 }, sizeof off));
	must(setsockopt(s[0], SOL_SOCKET, SO_RCVLOWAT, &(int){ 1 }, sizeof low));
	must(setsockopt(s[0], SOL_SOCKET, SO_PEEK_OFF, &off, sizeof off));
	must(write(s[1], "abcdef", 6));
	memset(b, 0, sizeof b);
	observe("peek from 1: %s %s", result(recv(s[0], b, 2, MSG_PEEK)), b);
	memset(b, 0, sizeof b);
	observe("goes on: %s %s", result(recv(s[0], b, 2, MSG_PEEK)), b);
	memset(b, 0, sizeof b);
	observe("read of 2: %s %s", result(recv(s[0], b, 2, 0)), b);
	memset(b, 0, sizeof b);
	observe("peek: %s %s", result(recv(s[0], b, 8, MSG_PEEK)), b);
	must(getsockopt(s[0], SOL_SOCKET, SO_PEEK_OFF, &v, &n));
	observe("SO_PEEK_OFF is now %d", v);
	fails(recv(s[0], b, 8, MSG_PEEK | MSG_DONTWAIT), EAGAIN);
	fails(recv(d[0], b, 1, MSG_OOB), EOPNOTSUPP);
	return contract_end();
}
