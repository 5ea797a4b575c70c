/*
 * fd/locks: POSIX record locks, open-file-description locks and flock: who excludes whom, and when they end.
 *
 * Catches: locks inherited by children, record locks that survive the close of any descriptor of the file, ranges that do not split.
 */
#include "contract.h"
#include <sys/file.h>

static int lock(int fd, int command, int type, long start, long len)
{
	struct flock l = { .l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len };
	return fcntl(fd, command, &l);
}

/* other asks what a different process finds. */
static void other(const char *what, long start, long len)
{
	pid_t p = must(fork());
	if (p == 0) {
		int fd = must(open("file", O_RDWR));
		struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = start, .l_len = len };
		must(fcntl(fd, F_GETLK, &l));
		if (l.l_type == F_UNLCK)
			observe("%s: free", what);
		else
			observe("%s: %s lock at %ld, %ld bytes, of the parent %d", what, l.l_type == F_RDLCK ? "read" : "write", (long)l.l_start, (long)l.l_len, l.l_pid == getppid());
		_exit(0);
	}
	reap(p);
}

int main(void)
{
	int fd = must(open("file", O_RDWR | O_CREAT, 0600));
	must(ftruncate(fd, 100));
	must(lock(fd, F_SETLK, F_WRLCK, 10, 20));
	other("after locking 10 to 29", 0, 100);
	other("below", 0, 10);
	must(lock(fd, F_SETLK, F_UNLCK, 15, 5));
	other("middle unlocked", 15, 5);
	other("right part", 20, 100);
	must(lock(fd, F_SETLK, F_RDLCK, 10, 5));
	other("made a read lock", 10, 5);
	pid_t p = must(fork());
	if (p == 0) {
		int own = must(open("file", O_RDWR));
		fails(lock(own, F_SETLK, F_WRLCK, 10, 1), EAGAIN);
		observe("read beside read: %s", result(lock(own, F_SETLK, F_RDLCK, 10, 1)));
		_exit(0);
	}
	reap(p);
	int second = must(open("file", O_RDONLY));
	close(second);
	other("after closing another descriptor of the file", 0, 100);

	int a = must(open("file", O_RDWR)), b = must(open("file", O_RDWR));
	must(lock(a, F_OFD_SETLK, F_WRLCK, 0, 10));
	fails(lock(b, F_OFD_SETLK, F_WRLCK, 5, 10), EAGAIN);
	fails(lock(b, F_SETLK, F_WRLCK, 5, 10), EAGAIN);
	int copy = must(dup(a));
	close(a);
	fails(lock(b, F_OFD_SETLK, F_WRLCK, 5, 10), EAGAIN);
	close(copy);
	observe("after the last close: %s", result(lock(b, F_OFD_SETLK, F_WRLCK, 5, 10)));
	close(b);

	a = must(open("file", O_RDWR)), b = must(open("file", O_RDWR));
	must(flock(a, LOCK_SH));
	observe("flock shared twice: %s", result(flock(b, LOCK_SH | LOCK_NB)));
	fails(flock(b, LOCK_EX | LOCK_NB), EAGAIN);
	must(flock(a, LOCK_UN));
	observe("alone: %s", result(flock(b, LOCK_EX | LOCK_NB)));
	fails(flock(a, LOCK_SH | LOCK_NB), EAGAIN);
	p = must(fork());
	if (p == 0) {
		flock(b, LOCK_UN); /* the same description */
		_exit(0);
	}
	reap(p);
	observe("unlocked by a child: %s", result(flock(a, LOCK_EX | LOCK_NB)));
	fails(flock(a, LOCK_NB), EINVAL);

	/* Waiting: the child sleeps until the parent unlocks. */
	must(lock(fd, F_SETLK, F_WRLCK, 50, 1));
	p = must(fork());
	if (p == 0) {
		int own = must(open("file", O_RDWR));
		must(lock(own, F_SETLKW, F_WRLCK, 50, 1));
		_exit(8);
	}
	wait_until(asleep(p, p));
	must(lock(fd, F_SETLK, F_UNLCK, 50, 1));
	observe("the waiter: %s", reap(p));
	return contract_end();
}
