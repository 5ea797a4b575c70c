/*
 * sockets/arguments: what every socket call answers to wrong arguments, and in which order it looks at them.
 *
 * Catches: wrong errors, writes through bad pointers that take effect, descriptors leaked by calls that fail.
 */
#include "contract.h"
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

static int lowest(void)
{
	int fd = must(dup(1));
	close(fd);
	return fd;
}

int main(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX, .sun_path = "a" };
	void *bad = (void *)16;
	char b[16];
	int s[2], first = lowest();
	socklen_t n = sizeof a;
	fails(socket(-1, SOCK_STREAM, 0), EAFNOSUPPORT);
	fails(socket(AF_UNIX, 0, 0), ESOCKTNOSUPPORT);
	fails(socket(AF_UNIX, SOCK_STREAM | 0x100, 0), EINVAL);
	fails(socket(AF_UNIX, SOCK_STREAM, 9), EPROTONOSUPPORT);
	fails(socket(AF_INET, SOCK_STREAM, -1), EINVAL);
	fails(socket(AF_INET, SOCK_STREAM, 9), EPROTONOSUPPORT);
	fails(socket(AF_INET6, SOCK_DGRAM, IPPROTO_TCP), EPROTONOSUPPORT);
	fails(socketpair(AF_UNIX, SOCK_STREAM, 0, bad), EFAULT);
	fails(socketpair(AF_UNIX, 12, 0, s), EINVAL);
	fails(socketpair(AF_INET6, SOCK_DGRAM, 0, s), EOPNOTSUPP);
	observe("nothing leaked: %d", lowest() == first);
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	int u = must(socket(AF_UNIX, SOCK_STREAM, 0)), t = must(socket(AF_INET, SOCK_STREAM, 0));
	int p[2];
	must(pipe(p));

	fails(bind(99, (void *)&a, sizeof a), EBADF);
	fails(bind(p[0], (void *)&a, sizeof a), ENOTSOCK);
	fails(bind(u, bad, sizeof a), EFAULT);
	fails(bind(u, (void *)&a, -1), EINVAL);
	fails(bind(u, (void *)&a, 1000), EINVAL);
	fails(bind(t, (void *)&a, sizeof a), EAFNOSUPPORT);
	fails(bind(t, (void *)&a, 15), EINVAL);
	fails(listen(99, 1), EBADF);
	fails(listen(p[0], 1), ENOTSOCK);
	fails(listen(s[0], 1), EINVAL);
	fails(accept(99, NULL, NULL), EBADF);
	fails(accept(s[0], NULL, NULL), EINVAL);
	fails(accept4(u, NULL, NULL, 0x1), EINVAL);
	fails(connect(u, bad, sizeof a), EFAULT);
	fails(connect(u, (void *)&a, 2), EINVAL);
	fails(connect(s[0], (void *)&a, sizeof a), ENOENT);
	fails(getsockname(s[0], bad, &n), EFAULT);
	fails(getsockname(s[0], (void *)&a, bad), EFAULT);
	fails(getpeername(u, (void *)&a, &n), ENOTCONN);
	fails(getpeername(p[0], (void *)&a, &n), ENOTSOCK);
	fails(shutdown(99, 0), EBADF);
	fails(shutdown(s[0], -1), EINVAL);
	fails(shutdown(t, SHUT_RD), ENOTCONN);
	fails(send(99, "x", 1, 0), EBADF);
	fails(send(p[1], "x", 1, 0), ENOTSOCK);
	fails(send(s[0], bad, 1, 0), EFAULT);
	fails(sendto(s[0], "x", 1, 0, (void *)&a, sizeof a), EISCONN);
	fails(sendto(u, "x", 1, 0, (void *)&a, sizeof a), EOPNOTSUPP);
	fails(sendto(s[0], "x", 1, 0, (void *)&a, 1000), EINVAL);
	fails(send(u, "x", 1, 0), ENOTCONN);
	fails(recv(u, b, 1, 0), EINVAL);
	fails(recv(p[0], b, 1, 0), ENOTSOCK);
	fails(sendmsg(s[0], bad, 0), EFAULT);
	fails(recvmsg(s[0], bad, 0), EFAULT);
	struct iovec v = { "x", 1 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1025 };
	fails(sendmsg(s[0], &m, 0), EMSGSIZE);
	m = (struct msghdr){ .msg_iov = &v, .msg_iovlen = 1, .msg_name = &a, .msg_namelen = -1 };
	fails(sendmsg(s[0], &m, 0), EINVAL);
	fails(recvmsg(s[0], &m, 0), EINVAL);
	char control[64] = { 0 };
	struct cmsghdr *c = (void *)control;
	m = (struct msghdr){ .msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
	*c = (struct cmsghdr){ .cmsg_len = 8, .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
	fails(sendmsg(s[0], &m, 0), EINVAL);
	c->cmsg_len = 1000;
	fails(sendmsg(s[0], &m, 0), EINVAL);
	*c = (struct cmsghdr){ .cmsg_len = CMSG_LEN(4), .cmsg_level = SOL_SOCKET, .cmsg_type = 99 };
	m.msg_controllen = CMSG_LEN(4);
	fails(sendmsg(s[0], &m, 0), EINVAL);
	*c = (struct cmsghdr){ .cmsg_len = CMSG_LEN(3), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_CREDENTIALS };
	fails(sendmsg(s[0], &m, 0), EINVAL);
	c->cmsg_level = 12345;
	observe("another level is ignored: %s", result(sendmsg(s[0], &m, 0)));
	m.msg_control = bad;
	fails(sendmsg(s[0], &m, 0), EFAULT);
	must(recv(s[1], b, 1, 0));
	fails(recv(s[1], b, 1, MSG_DONTWAIT), EAGAIN);
	fails(recvfrom(s[1], b, 1, MSG_DONTWAIT, bad, (void *)24), EAGAIN);
	must(send(s[0], "y", 1, 0));
	n = 4;
	observe("recvfrom a nameless peer: %s", result(recvfrom(s[1], b, 1, 0, (void *)&a, &n)));
	observe("  length %d", (int)n);

	/* Calls that make a descriptor fail cleanly when none is left. */
	struct { long soft, hard; } lim, low;
	must(syscall(SYS_prlimit64, 0, 7, NULL, &lim));
	low = lim;
	low.soft = lowest();
	must(syscall(SYS_prlimit64, 0, 7, &low, NULL));
	fails(socket(AF_UNIX, SOCK_STREAM, 0), EMFILE);
	fails(socketpair(AF_UNIX, SOCK_STREAM, 0, s), EMFILE);
	must(syscall(SYS_prlimit64, 0, 7, &lim, NULL));
	return contract_end();
}
