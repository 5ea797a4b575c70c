/*
 * fd/dup: dup, dup2, dup3 and F_DUPFD: one file description behind several descriptors.
 *
 * Catches: offsets or status flags copied instead of shared, close-on-exec copied, the lowest free descriptor not used.
 */
#include "contract.h"

int main(void)
{
	char b[8] = { 0 };
	int fd = must(open("file", O_RDWR | O_CREAT | O_CLOEXEC, 0600));
	write(fd, "0123456789", 10);
	int d = must(dup(fd));
	observe("lowest free: %d after %d; close-on-exec %d and %d", d, fd, fcntl(fd, F_GETFD), fcntl(d, F_GETFD));
	lseek(fd, 4, SEEK_SET);
	read(d, b, 2);
	observe("shared offset: read %s, now at %ld", b, (long)lseek(fd, 0, SEEK_CUR));
	require(!strcmp(b, "45"), "offsets are of the description");
	must(fcntl(d, F_SETFL, O_APPEND));
	observe("shared flags: append %d", !!(fcntl(fd, F_GETFL) & O_APPEND));
	observe("dup2 to a number: %s; onto itself: %s", result(dup2(fd, 20)), result(dup2(fd, fd)));
	observe("close-on-exec after dup2 onto itself: %d", fcntl(fd, F_GETFD));
	observe("dup3: %s, close-on-exec %d", result(dup3(fd, 21, O_CLOEXEC)), fcntl(21, F_GETFD));
	fails(dup3(fd, fd, 0), EINVAL);
	fails(syscall(SYS_dup3, fd, 22, 7), EINVAL);
	fails(dup(99), EBADF);
	fails(dup2(99, 5), EBADF);
	fails(dup2(fd, -1), EBADF);
	fails(dup2(fd, 1 << 20), EBADF);
	observe("F_DUPFD from 20: %s, F_DUPFD_CLOEXEC from 30: %s", result(fcntl(fd, F_DUPFD, 20)), result(fcntl(fd, F_DUPFD_CLOEXEC, 30)));
	close(d);
	observe("reuse: %d", dup(fd) == d);
	int other = must(open("other", O_RDWR | O_CREAT, 0600));
	must(dup2(other, fd));
	observe("after dup2 onto it, size of the file behind: %ld", (long)lseek(fd, 0, SEEK_END));
	observe("the old description lives in its copy: %ld", (long)lseek(20, 0, SEEK_END));

	int own = must(open("file", O_RDWR));
	lseek(20, 3, SEEK_SET);
	observe("an open of its own has its own offset: %ld", (long)lseek(own, 0, SEEK_CUR));
	pid_t p = must(fork());
	if (p == 0) {
		lseek(20, 7, SEEK_SET);
		close(20);
		_exit(0);
	}
	reap(p);
	observe("a child moves the shared offset: %ld", (long)lseek(20, 0, SEEK_CUR));
	return contract_end();
}
