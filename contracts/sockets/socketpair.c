/*
 * sockets/socketpair: stream, datagram and seqpacket pairs: what keeps borders and what does not.
 *
 * Catches: datagrams that merge, truncation not told, a stream that keeps borders, wrong types accepted.
 */
#include "contract.h"
#include <sys/socket.h>

static void try(int type, const char *name)
{
	int s[2];
	char b[64];
	must(socketpair(AF_UNIX, type | SOCK_NONBLOCK, 0, s));
	write(s[0], "one", 3);
	write(s[0], "three", 5);
	memset(b, 0, sizeof b);
	observe("%s: peek %s", name, result(recv(s[1], b, sizeof b, MSG_PEEK)));
	memset(b, 0, sizeof b);
	observe("%s: first read %s %s", name, result(read(s[1], b, 2)), b);
	memset(b, 0, sizeof b);
	observe("%s: then %s %s", name, result(read(s[1], b, sizeof b)), b);
	observe("%s: then %s", name, result(read(s[1], b, sizeof b)));
	write(s[0], "longer", 6);
	struct iovec v = { b, 3 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };
	ssize_t r = recvmsg(s[1], &m, 0);
	observe("%s: recvmsg of 3: %s, truncated %d", name, result(r), !!(m.msg_flags & MSG_TRUNC));
	while (read(s[1], b, sizeof b) > 0)
		;
	int t;
	socklen_t n = sizeof t;
	must(getsockopt(s[0], SOL_SOCKET, SO_TYPE, &t, &n));
	observe("%s: SO_TYPE %d", name, t);
	if (type != SOCK_STREAM)
		observe("%s: empty message %s, read %s", name, result(send(s[0], "", 0, 0)), result(recv(s[1], b, 1, 0)));
	close(s[0]);
	observe("%s: peer closed: %s", name, result(read(s[1], b, 1)));
	observe("%s: write to closed: %s", name, result(send(s[1], "x", 1, MSG_NOSIGNAL)));
	close(s[1]);
}

int main(void)
{
	int s[2];
	try(SOCK_STREAM, "stream");
	try(SOCK_DGRAM, "datagram");
	try(SOCK_SEQPACKET, "seqpacket");
	fails(socketpair(AF_INET, SOCK_STREAM, 0, s), EOPNOTSUPP);
	fails(socketpair(AF_UNIX, SOCK_STREAM, 99, s), EPROTONOSUPPORT);
	return contract_end();
}
