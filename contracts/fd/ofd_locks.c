/*
 * fd/ofd_locks: record locks that belong to an open file, next to those of a process.
 *
 * Catches: locks released by closing another descriptor of the file, locks of one's own that get in the way, wrong holders told, sections that do not split.
 */
#include "contract.h"

static int lock(int fd, int cmd, short type, off_t start, off_t len)
{
	struct flock l = { .l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len };
	return fcntl(fd, cmd, &l);
}

static const char *holder(int fd, int cmd, short type, off_t start, off_t len)
{
	static char b[4][64];
	static int next;
	char *p = b[next++ & 3];
	struct flock l = { .l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len };
	if (fcntl(fd, cmd, &l) == -1)
		snprintf(p, 64, "%s", errno_name(errno));
	else if (l.l_type == F_UNLCK)
		snprintf(p, 64, "free");
	else
		snprintf(p, 64, "%s %ld+%ld by %s", l.l_type == F_WRLCK ? "write" : "read", (long)l.l_start, (long)l.l_len, l.l_pid == -1 ? "a description" : l.l_pid == getppid() ? "parent" : l.l_pid == getpid() ? "me" : "?");
	return p;
}

int main(void)
{
	int a = must(open("f", O_CREAT | O_RDWR, 0600)), b = must(open("f", O_RDWR));
	must(write(a, "0123456789", 10));
	must(lock(a, F_OFD_SETLK, F_WRLCK, 0, 4));
	fails(lock(b, F_OFD_SETLK, F_RDLCK, 2, 4), EAGAIN);
	observe("seen from the other: %s", holder(b, F_OFD_GETLK, F_RDLCK, 0, 0));
	observe("seen from its own: %s", holder(a, F_OFD_GETLK, F_WRLCK, 0, 0));
	int d = must(dup(a));
	observe("a duplicate is the same: %s", ok(lock(d, F_OFD_SETLK, F_WRLCK, 2, 6)));
	close(d);
	fails(lock(b, F_OFD_SETLK, F_WRLCK, 7, 1), EAGAIN);
	int c = must(open("f", O_RDONLY));
	close(c);
	fails(lock(b, F_OFD_SETLK, F_WRLCK, 0, 1), EAGAIN);
	/* A process lock conflicts with one of a description. */
	fails(lock(b, F_SETLK, F_WRLCK, 0, 1), EAGAIN);
	observe("process sees: %s", holder(b, F_GETLK, F_WRLCK, 0, 0));
	must(lock(b, F_SETLK, F_WRLCK, 100, 10));
	fails(lock(b, F_OFD_SETLK, F_WRLCK, 100, 1), EAGAIN); /* even through the same description */
	pid_t p = must(fork());
	if (p == 0) {
		observe("child: process lock %s, description lock %s", holder(b, F_GETLK, F_WRLCK, 100, 1), holder(b, F_GETLK, F_WRLCK, 0, 1));
		observe("the child shares the description: %s", ok(lock(a, F_OFD_SETLK, F_UNLCK, 4, 4)));
		_exit(0);
	}
	reap(p);
	observe("unlocked by the child: %s, kept %s", holder(b, F_OFD_GETLK, F_WRLCK, 4, 4), holder(b, F_OFD_GETLK, F_WRLCK, 0, 1));
	/* Split and merge. */
	must(lock(a, F_OFD_SETLK, F_WRLCK, 20, 10));
	must(lock(a, F_OFD_SETLK, F_UNLCK, 23, 2));
	must(lock(a, F_OFD_SETLK, F_RDLCK, 28, 2));
	observe("pieces: %s, %s, %s, %s", holder(b, F_OFD_GETLK, F_WRLCK, 20, 4), holder(b, F_OFD_GETLK, F_WRLCK, 23, 2), holder(b, F_OFD_GETLK, F_WRLCK, 25, 3), holder(b, F_OFD_GETLK, F_WRLCK, 28, 20));
	must(lock(a, F_OFD_SETLK, F_WRLCK, 20, 10));
	observe("whole: %s", holder(b, F_OFD_GETLK, F_WRLCK, 25, 1));
	/* Waiting, and the last close. */
	p = must(fork());
	if (p == 0) {
		close(a); /* the parent's description lives on there */
		observe("waited: %s", ok(lock(b, F_OFD_SETLKW, F_WRLCK, 0, 2)));
		_exit(0);
	}
	wait_until(asleep(p, p));
	close(a);
	observe("%s", reap(p));
	fails(lock(b, F_OFD_SETLK, F_WRLCK, -5, 2), EINVAL);
	fails(lock(b, F_OFD_SETLK, 9, 0, 2), EINVAL);
	struct flock l = { .l_type = F_WRLCK, .l_pid = 5 };
	fails(fcntl(b, F_OFD_SETLK, &l), EINVAL);
	int r = must(open("f", O_RDONLY)), w = must(open("f", O_WRONLY));
	fails(lock(r, F_OFD_SETLK, F_WRLCK, 50, 1), EBADF);
	fails(lock(w, F_OFD_SETLK, F_RDLCK, 50, 1), EBADF);
	return contract_end();
}
