/*
 * sockets/unix_seqpacket: connections with message borders.
 *
 * Catches: records that merge or are cut into several reads, an end of file that cannot be told from an empty record, addresses that are obeyed.
 */
#include "contract.h"
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

int main(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX, .sun_path = "seq" };
	char b[32];
	int l = must(socket(AF_UNIX, SOCK_SEQPACKET, 0)), c = must(socket(AF_UNIX, SOCK_SEQPACKET, 0));
	must(bind(l, (void *)&a, sizeof a));
	must(listen(l, 1));
	fails(send(c, "x", 1, 0), ENOTCONN);
	fails(recv(c, b, 1, 0), ENOTCONN);
	int wrong = must(socket(AF_UNIX, SOCK_STREAM, 0));
	fails(connect(wrong, (void *)&a, sizeof a), EPROTOTYPE);
	must(connect(c, (void *)&a, sizeof a));
	int d = must(accept(l, NULL, NULL));
	struct iovec v[2] = { { "he", 2 }, { "llo", 3 } };
	observe("writev is one record: %s", result(writev(c, v, 2)));
	must(write(c, "second", 6));
	struct iovec r[2] = { { b, 2 }, { b + 2, 20 } };
	memset(b, 0, sizeof b);
	observe("readv: %s %s", result(readv(d, r, 2)), b);
	struct iovec w = { b, 3 };
	struct msghdr m = { .msg_iov = &w, .msg_iovlen = 1 };
	memset(b, 0, sizeof b);
	observe("short buffer: %s %s", result(recvmsg(d, &m, 0)), b);
	observe("  truncated %d", !!(m.msg_flags & MSG_TRUNC));
	must(write(c, "third", 5));
	observe("real length: %s", result(recv(d, b, 2, MSG_TRUNC)));
	observe("an address is ignored: %s", result(sendto(c, "addr", 4, 0, (void *)&(struct sockaddr_un){ .sun_family = AF_UNIX, .sun_path = "nobody" }, sizeof a)));
	observe("read: %s", result(read(d, b, sizeof b)));
	observe("empty record: %s, read %s", result(send(c, "", 0, 0)), result(recv(d, b, 1, 0)));
	fails(recv(d, b, 1, MSG_DONTWAIT), EAGAIN);
	must(write(d, "unread", 6));
	must(shutdown(c, SHUT_WR));
	observe("after SHUT_WR: %s", result(recv(d, b, 1, 0)));
	signal(SIGPIPE, SIG_IGN);
	fails(send(c, "x", 1, MSG_NOSIGNAL), EPIPE);
	observe("the other way: %s", result(read(c, b, sizeof b)));
	close(d);
	observe("closed: %s", result(read(c, b, sizeof b)));
	fails(send(c, "x", 1, MSG_NOSIGNAL), EPIPE);
	return contract_end();
}
