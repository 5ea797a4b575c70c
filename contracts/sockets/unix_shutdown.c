/*
 * sockets/unix_shutdown: each half of a connection, on each side, with readers and writers asleep, and what poll says.
 *
 * Catches: sleepers that are not woken, data lost that was sent before, a half that closes the other, POLLHUP and POLLRDHUP mixed up.
 */
#include "contract.h"
#include <poll.h>
#include <sys/socket.h>

static const char *events(int fd)
{
	static char text[2][64];
	static int next;
	char *b = text[next++ & 1];
	struct pollfd p = { .fd = fd, .events = POLLIN | POLLOUT | POLLRDHUP };
	poll(&p, 1, 0);
	snprintf(b, 64, "%s%s%s%s%s", p.revents & POLLIN ? "in " : "", p.revents & POLLOUT ? "out " : "", p.revents & POLLRDHUP ? "rdhup " : "", p.revents & POLLHUP ? "hup " : "",
		 p.revents & POLLERR ? "err" : "");
	return b;
}

int main(void)
{
	int s[2];
	char b[16];
	signal(SIGPIPE, SIG_IGN);
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	observe("fresh: [%s] [%s]", events(s[0]), events(s[1]));
	must(write(s[0], "last", 4));
	must(shutdown(s[0], SHUT_WR));
	observe("one way shut: [%s] [%s]", events(s[0]), events(s[1]));
	observe("data first: %s, then %s", result(read(s[1], b, 16)), result(read(s[1], b, 16)));
	fails(write(s[0], "x", 1), EPIPE);
	must(write(s[1], "back", 4));
	observe("the other way: %s", result(read(s[0], b, 16)));
	must(shutdown(s[1], SHUT_WR));
	observe("both ways: [%s] [%s]", events(s[0]), events(s[1]));
	observe("again: %s", result(shutdown(s[1], SHUT_RDWR)));
	close(s[0]), close(s[1]);

	must(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	must(write(s[0], "kept", 4));
	must(shutdown(s[1], SHUT_RD));
	observe("reader shut: [%s] [%s]", events(s[0]), events(s[1]));
	observe("what was there: %s, then %s", result(read(s[1], b, 16)), result(read(s[1], b, 16)));
	fails(write(s[0], "x", 1), EPIPE);
	close(s[0]), close(s[1]);

	/* A sleeping reader and a sleeping writer end. */
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	pid_t reader = must(fork());
	if (reader == 0) {
		observe("reader: %s", result(read(s[1], b, 1)));
		_exit(0);
	}
	wait_until(asleep(reader, reader));
	must(shutdown(s[1], SHUT_RD));
	reap(reader);
	close(s[0]), close(s[1]);
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	pid_t writer = must(fork());
	if (writer == 0) {
		static char big[4096];
		while (write(s[0], big, sizeof big) > 0)
			;
		observe("writer: %s", errno_name(errno));
		_exit(0);
	}
	wait_until(asleep(writer, writer));
	must(shutdown(s[1], SHUT_RD));
	reap(writer);
	close(s[0]), close(s[1]);

	must(socketpair(AF_UNIX, SOCK_DGRAM, 0, s));
	must(write(s[0], "d", 1));
	must(shutdown(s[1], SHUT_RD));
	observe("datagrams: [%s] [%s]", events(s[0]), events(s[1]));
	observe("queued: %s, then %s", result(read(s[1], b, 16)), result(read(s[1], b, 16)));
	fails(send(s[0], "x", 1, 0), EPIPE);
	must(shutdown(s[0], SHUT_WR));
	fails(send(s[0], "x", 1, 0), EPIPE);

	int u = must(socket(AF_UNIX, SOCK_STREAM, 0));
	observe("not connected: [%s], shutdown %s", events(u), result(shutdown(u, SHUT_RDWR)));
	fails(shutdown(u, 3), EINVAL);
	fails(shutdown(1, 0), ENOTSOCK);
	return contract_end();
}
