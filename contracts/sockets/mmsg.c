/*
 * sockets/mmsg: sendmmsg and recvmmsg: many messages in one call.
 *
 * Catches: counts that are off when a message fails in between, lengths not stored, MSG_WAITFORONE that waits for more.
 */
#include "contract.h"
#include <sys/socket.h>
#include <sys/un.h>

int main(void)
{
	int s[2];
	static char text[5][8] = { "one", "two", "three", "four", "five" }, in[8][8];
	struct iovec out[5], to[8];
	struct mmsghdr m[8] = { 0 }, r[8] = { 0 };
	must(socketpair(AF_UNIX, SOCK_DGRAM, 0, s));
	for (int i = 0; i < 5; i++) {
		out[i] = (struct iovec){ text[i], strlen(text[i]) };
		m[i].msg_hdr = (struct msghdr){ .msg_iov = &out[i], .msg_iovlen = 1 };
	}
	for (int i = 0; i < 8; i++) {
		to[i] = (struct iovec){ in[i], 4 };
		r[i].msg_hdr = (struct msghdr){ .msg_iov = &to[i], .msg_iovlen = 1 };
	}
	observe("sent: %s", result(sendmmsg(s[0], m, 5, 0)));
	for (int i = 0; i < 5; i++)
		observe("  %d: length %u", i, m[i].msg_len);
	observe("received: %s", result(recvmmsg(s[1], r, 8, MSG_DONTWAIT, NULL)));
	for (int i = 0; i < 5; i++)
		observe("  %d: \"%.4s\" length %u, truncated %d", i, in[i], r[i].msg_len, !!(r[i].msg_hdr.msg_flags & MSG_TRUNC));
	fails(recvmmsg(s[1], r, 8, MSG_DONTWAIT, NULL), EAGAIN);
	must(sendmmsg(s[0], m, 3, 0));
	observe("MSG_WAITFORONE: %s", result(recvmmsg(s[1], r, 8, MSG_WAITFORONE, NULL)));
	must(sendmmsg(s[0], m, 3, 0));
	observe("two of three: %s", result(recvmmsg(s[1], r, 2, 0, NULL)));
	struct timespec none = { 0, 0 };
	observe("the time is looked at after each: %s", result(recvmmsg(s[1], r, 2, 0, &none)));

	/* An error after the first messages is not told. */
	m[2].msg_hdr.msg_iov = (void *)1;
	observe("the third is bad: %s", result(sendmmsg(s[0], m, 5, 0)));
	fails(sendmmsg(s[0], m + 2, 1, 0), EFAULT);
	observe("two arrived: %s", result(recvmmsg(s[1], r, 8, MSG_DONTWAIT, NULL)));
	m[2].msg_hdr.msg_iov = &out[2];
	observe("none: %s, %s", result(sendmmsg(s[0], m, 0, 0)), result(recvmmsg(s[1], r, 0, 0, NULL)));
	fails(recvmmsg(s[1], r, 1, 0, &(struct timespec){ 0, 1000000000 }), EINVAL);
	fails(sendmmsg(1, m, 1, 0), ENOTSOCK);
	m[0].msg_hdr.msg_iovlen = 1025;
	fails(sendmmsg(s[0], m, 1, 0), EMSGSIZE);
	struct iovec many[1024];
	static char bytes[1024];
	for (int i = 0; i < 1024; i++)
		many[i] = (struct iovec){ bytes + i, 1 };
	struct msghdr h = { .msg_iov = many, .msg_iovlen = 1024 };
	observe("1024 pieces: %s", result(sendmsg(s[0], &h, 0)));
	observe("  %s", result(recvmsg(s[1], &h, 0)));
	return contract_end();
}
