/*
 * sockets/sigpipe: writing where nobody reads: EPIPE, and SIGPIPE for streams only.
 *
 * Catches: a signal that MSG_NOSIGNAL must hold back, none where there must be one, a signal for datagrams.
 */
#include "contract.h"
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/uio.h>

static volatile int caught;
static void on_pipe(int s) { caught += s == SIGPIPE; }

static void count(const char *what, ssize_t r)
{
	observe("%s: %s, signals %d", what, result(r), caught);
	caught = 0;
}

int main(void)
{
	int s[2];
	struct iovec v = { "x", 1 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };
	signal(SIGPIPE, on_pipe);
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	close(s[1]);
	count("write", write(s[0], "x", 1));
	count("writev", writev(s[0], &v, 1));
	count("send", send(s[0], "x", 1, 0));
	count("send, MSG_NOSIGNAL", send(s[0], "x", 1, MSG_NOSIGNAL));
	count("sendmsg", sendmsg(s[0], &m, 0));
	count("sendmsg, MSG_NOSIGNAL", sendmsg(s[0], &m, MSG_NOSIGNAL));
	count("nothing to write", write(s[0], "", 0));
	must(socketpair(AF_UNIX, SOCK_DGRAM, 0, s));
	must(shutdown(s[1], SHUT_RD));
	count("datagram", write(s[0], "x", 1));
	int t = must(socket(AF_INET, SOCK_STREAM, 0));
	count("TCP, never connected", write(t, "x", 1));
	count("TCP, MSG_NOSIGNAL", send(t, "x", 1, MSG_NOSIGNAL));
	signal(SIGPIPE, SIG_DFL);
	pid_t p = must(fork());
	if (p == 0) {
		must(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
		close(s[1]);
		write(s[0], "x", 1);
		_exit(0);
	}
	observe("by default: %s", reap(p));
	return contract_end();
}
