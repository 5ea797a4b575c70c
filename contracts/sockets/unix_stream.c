/*
 * sockets/unix_stream: AF_UNIX streams: bind, listen, connect, accept, shutdown, end of file.
 *
 * Catches: connections lost in the backlog, shutdown of one side that closes both, names that stay bound, wrong peer names.
 */
#include "contract.h"
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

int main(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX, .sun_path = "sock" }, peer;
	socklen_t n = sizeof peer;
	char b[16] = { 0 };
	int s = must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
	fails(connect(s, (void *)&a, sizeof a), ENOENT);
	must(bind(s, (void *)&a, sizeof a));
	struct stat st;
	stat("sock", &st);
	observe("bound: a socket in the file system %d", S_ISSOCK(st.st_mode));
	int c = must(socket(AF_UNIX, SOCK_STREAM, 0));
	fails(connect(c, (void *)&a, sizeof a), ECONNREFUSED);
	fails(bind(c, (void *)&a, sizeof a), EADDRINUSE);
	fails(accept(s, NULL, NULL), EINVAL);
	must(listen(s, 5));
	must(connect(c, (void *)&a, sizeof a));
	fails(connect(c, (void *)&a, sizeof a), EISCONN);
	write(c, "early", 5); /* before accept */
	int d = must(accept4(s, (void *)&peer, &n, SOCK_NONBLOCK | SOCK_CLOEXEC));
	observe("accepted: address length %d, nonblock %d, close-on-exec %d", n, !!(fcntl(d, F_GETFL) & O_NONBLOCK), fcntl(d, F_GETFD));
	observe("early data: %s %s", result(read(d, b, 16)), b);
	fails(read(d, b, 1), EAGAIN);
	n = sizeof peer;
	must(getpeername(c, (void *)&peer, &n));
	observe("peer: %s", peer.sun_path);
	n = sizeof peer;
	must(getsockname(c, (void *)&peer, &n));
	observe("own unnamed: length %d", n);
	struct ucred cred;
	n = sizeof cred;
	must(getsockopt(d, SOL_SOCKET, SO_PEERCRED, &cred, &n));
	observe("peer's credentials: self %d, uid %d", cred.pid == getpid(), cred.uid);
	must(shutdown(c, SHUT_WR));
	observe("after the peer's SHUT_WR: %s", result(read(d, b, 1)));
	observe("the other way still works: %s", result(write(d, "reply", 5)));
	memset(b, 0, sizeof b);
	observe("  %s %s", result(read(c, b, 16)), b);
	signal(SIGPIPE, SIG_IGN);
	fails(write(c, "x", 1), EPIPE);
	fails(send(c, "x", 1, MSG_NOSIGNAL), EPIPE);
	write(d, "unread", 6);
	close(d);
	observe("closed with data under way: %s, then %s", result(read(c, b, 16)), result(read(c, b, 1)));
	close(c);
	c = must(socket(AF_UNIX, SOCK_STREAM, 0));
	must(connect(c, (void *)&a, sizeof a));
	close(s);
	fails(read(c, b, 1), ECONNRESET);
	c = must(socket(AF_UNIX, SOCK_STREAM, 0));
	fails(connect(c, (void *)&a, sizeof a), ECONNREFUSED);
	unlink("sock");

	struct sockaddr_un abstract = { .sun_family = AF_UNIX, .sun_path = "\0name" };
	socklen_t len = offsetof(struct sockaddr_un, sun_path) + 5;
	s = must(socket(AF_UNIX, SOCK_STREAM, 0));
	must(bind(s, (void *)&abstract, len));
	must(listen(s, 1));
	must(connect(c, (void *)&abstract, len));
	observe("abstract name: connected");
	fails(connect(must(socket(AF_UNIX, SOCK_STREAM, 0)), (void *)&abstract, len + 1), ECONNREFUSED);
	fails(socket(AF_UNIX, 77, 0), EINVAL);
	fails(socket(250, SOCK_STREAM, 0), EAFNOSUPPORT);
	fails(listen(1, 1), ENOTSOCK);
	return contract_end();
}
