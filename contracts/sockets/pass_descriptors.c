/*
 * sockets/pass_descriptors: SCM_RIGHTS and SCM_CREDENTIALS over AF_UNIX.
 *
 * Catches: descriptors that arrive closed or doubled, rights lost when the buffer is short, credentials of the wrong process.
 */
#include "contract.h"
#include <sys/socket.h>

static void send_fds(int s, const int *fds, int n)
{
	char control[CMSG_SPACE(sizeof(int) * 4)] = { 0 };
	struct iovec v = { "x", 1 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = CMSG_SPACE(sizeof(int) * n) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	*c = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int) * n) };
	memcpy(CMSG_DATA(c), fds, sizeof(int) * n);
	must(sendmsg(s, &m, 0));
}

static int receive_fds(int s, int *fds, int room, int *flags)
{
	char control[CMSG_SPACE(sizeof(int) * 4)], b;
	struct iovec v = { &b, 1 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = CMSG_LEN(sizeof(int) * room) };
	must(recvmsg(s, &m, MSG_CMSG_CLOEXEC));
	*flags = m.msg_flags;
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	if (!c || c->cmsg_type != SCM_RIGHTS)
		return 0;
	int n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	memcpy(fds, CMSG_DATA(c), n * sizeof(int));
	return n;
}

int main(void)
{
	int s[2], p[2], got[4], flags;
	char b[8] = { 0 };
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	must(pipe(p));
	int fd = must(open("file", O_RDWR | O_CREAT, 0600));
	write(fd, "content", 7);
	pid_t child = must(fork());
	if (child == 0) {
		int n = receive_fds(s[1], got, 4, &flags);
		observe("child got %d, close-on-exec %d", n, fcntl(got[0], F_GETFD));
		lseek(got[0], 3, SEEK_SET);
		write(got[1], "pipe", 4);
		_exit(0);
	}
	int both[2] = { fd, p[1] };
	send_fds(s[0], both, 2);
	close(p[1]);
	observe("child: %s", reap(child));
	observe("the offset is shared: %ld", (long)lseek(fd, 0, SEEK_CUR));
	observe("the pipe: %s %s, then %s", result(read(p[0], b, 8)), b, result(read(p[0], b, 8)));

	int three[3] = { 1, 1, 1 };
	send_fds(s[0], three, 3);
	int n = receive_fds(s[1], got, 1, &flags);
	observe("room for one: got %d, MSG_CTRUNC %d", n, !!(flags & MSG_CTRUNC));
	close(got[0]);
	int bad = 99;
	struct iovec v = { "x", 1 };
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	*c = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int)) };
	memcpy(CMSG_DATA(c), &bad, sizeof bad);
	fails(sendmsg(s[0], &m, 0), EBADF);

	/* In flight when the sender has gone, then dropped with the socket: the pipe must end. */
	must(pipe(p));
	send_fds(s[0], &p[1], 1);
	close(p[1]);
	close(s[0]), close(s[1]);
	observe("dropped in flight: %s", result(read(p[0], b, 1)));

	int on = 1;
	must(socketpair(AF_UNIX, SOCK_DGRAM, 0, s));
	must(setsockopt(s[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on));
	child = must(fork());
	if (child == 0) {
		write(s[0], "c", 1);
		_exit(0);
	}
	char room[CMSG_SPACE(sizeof(struct ucred))];
	struct iovec w = { b, 8 };
	struct msghdr r = { .msg_iov = &w, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room };
	must(recvmsg(s[1], &r, 0));
	c = CMSG_FIRSTHDR(&r);
	struct ucred u = { 0 };
	if (c && c->cmsg_type == SCM_CREDENTIALS)
		memcpy(&u, CMSG_DATA(c), sizeof u);
	observe("credentials: of the child %d, uid %d", u.pid == child, u.uid);
	reap(child);
	return contract_end();
}
