/*
 * sockets/unix_credentials: SO_PEERCRED, SO_PASSCRED and SCM_CREDENTIALS: who is told to be at the other end.
 *
 * Catches: credentials of the reader, of the wrong moment, or forged by an unprivileged sender; bytes of two senders in one read.
 */
#include "contract.h"
#include <sys/socket.h>
#include <sys/un.h>

static struct ucred peer(int s)
{
	struct ucred u = { -2, -2, -2 };
	socklen_t n = sizeof u;
	must(getsockopt(s, SOL_SOCKET, SO_PEERCRED, &u, &n));
	return u;
}

static ssize_t take(int s, struct ucred *u, int *found, int flags)
{
	char b[16], room[CMSG_SPACE(sizeof *u)];
	struct iovec v = { b, sizeof b };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room };
	ssize_t r = recvmsg(s, &m, flags);
	*found = 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); r >= 0 && c; c = CMSG_NXTHDR(&m, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_CREDENTIALS) {
			memcpy(u, CMSG_DATA(c), sizeof *u);
			(*found)++;
		}
	return r;
}

static ssize_t claim(int s, pid_t pid, uid_t uid, gid_t gid)
{
	struct ucred u = { pid, uid, gid };
	char room[CMSG_SPACE(sizeof u)] = { 0 };
	struct iovec v = { "c", 1 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	*c = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_CREDENTIALS, .cmsg_len = CMSG_LEN(sizeof u) };
	memcpy(CMSG_DATA(c), &u, sizeof u);
	return sendmsg(s, &m, MSG_NOSIGNAL);
}

int main(void)
{
	struct ucred u;
	int s[2], found, on = 1, off = 0;
	struct sockaddr_un a = { .sun_family = AF_UNIX, .sun_path = "s" };
	int l = must(socket(AF_UNIX, SOCK_STREAM, 0));
	u = peer(l);
	observe("nobody yet: pid %d, uid %d, gid %d", u.pid, (int)u.uid, (int)u.gid);
	must(bind(l, (void *)&a, sizeof a));
	must(listen(l, 8));
	pid_t child = must(fork());
	if (child == 0) {
		int c = must(socket(AF_UNIX, SOCK_STREAM, 0));
		must(connect(c, (void *)&a, sizeof a));
		u = peer(c);
		observe("the client sees who listens: parent %d, uid %d", u.pid == getppid(), (int)u.uid);
		must(setresuid(1000, 1000, 1000));
		must(write(c, "x", 1));
		pause();
		_exit(0);
	}
	int d = must(accept(l, NULL, NULL));
	char b[4];
	must(read(d, b, 1));
	u = peer(d);
	observe("the server sees who connected: child %d, uid then %d", u.pid == child, (int)u.uid);
	kill(child, SIGKILL);
	reap(child);
	u = peer(d);
	observe("also when it is dead: %d", u.pid == child);

	must(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	must(write(s[0], "early", 5));
	must(setsockopt(s[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on));
	observe("sent before anybody asked: %s", result(take(s[1], &u, &found, 0)));
	observe("  found %d, pid %d, uid %d", found, u.pid, (int)u.uid);
	must(write(s[0], "own", 3));
	child = must(fork());
	if (child == 0) {
		must(write(s[0], "child", 5));
		_exit(0);
	}
	reap(child);
	observe("a stream does not mix senders: %s", result(take(s[1], &u, &found, 0)));
	observe("  of self %d", found == 1 && u.pid == getpid());
	observe("then: %s", result(take(s[1], &u, &found, 0)));
	observe("  of the child %d", found == 1 && u.pid == child);
	must(setsockopt(s[1], SOL_SOCKET, SO_PASSCRED, &off, sizeof off));
	observe("claimed, but not wanted: %s", result(claim(s[0], getpid(), 0, 0)));
	observe("  %s", result(take(s[1], &u, &found, 0)));
	observe("  found %d", found);

	must(setsockopt(s[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on));
	observe("root may claim other ids: %s", result(claim(s[0], getpid(), 1, 2)));
	must(take(s[1], &u, &found, 0));
	observe("  uid %d, gid %d", (int)u.uid, (int)u.gid);
	fails(claim(s[0], 4000000, 0, 0), ESRCH);
	child = must(fork());
	if (child == 0) {
		must(setresgid(1000, 1001, 1002));
		must(setresuid(1000, 1001, 1002));
		observe("own ids: %s %s %s", result(claim(s[0], getpid(), 1000, 1000)), result(claim(s[0], getpid(), 1001, 1001)), result(claim(s[0], getpid(), 1002, 1002)));
		fails(claim(s[0], getpid(), 0, 1000), EPERM);
		fails(claim(s[0], getpid(), 1000, 0), EPERM);
		fails(claim(s[0], getppid(), 1000, 1000), EPERM);
		_exit(0);
	}
	observe("child: %s", reap(child));
	take(s[1], &u, &found, 0);
	observe("not told apart from kernel's: %d, uid %d", u.pid == child, (int)u.uid);

	must(socketpair(AF_UNIX, SOCK_DGRAM, 0, s));
	must(setsockopt(s[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof on));
	must(write(s[0], "d", 1));
	struct sockaddr_un name;
	socklen_t n = sizeof name;
	must(getsockname(s[0], (void *)&name, &n));
	observe("who asks for credentials gets a name by sending: length %d", (int)n);
	return contract_end();
}
