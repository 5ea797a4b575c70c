/*
 * fd/fcntl_flags: status flags that can be changed and those that cannot.
 *
 * Catches: F_SETFL that changes the access mode, descriptor flags shared between copies, O_PATH descriptors that read.
 */
#include "contract.h"
#include <sys/ioctl.h>

int main(void)
{
	int fd = must(open("file", O_RDWR | O_CREAT, 0600)), on = 1;
	char b[4];
	observe("access mode %d, append %d, nonblock %d", fcntl(fd, F_GETFL) & O_ACCMODE, !!(fcntl(fd, F_GETFL) & O_APPEND), !!(fcntl(fd, F_GETFL) & O_NONBLOCK));
	must(fcntl(fd, F_SETFL, O_RDONLY | O_APPEND | O_NONBLOCK | O_CREAT | O_EXCL));
	observe("access mode %d, append %d, nonblock %d, creat %d", fcntl(fd, F_GETFL) & O_ACCMODE, !!(fcntl(fd, F_GETFL) & O_APPEND), !!(fcntl(fd, F_GETFL) & O_NONBLOCK),
		!!(fcntl(fd, F_GETFL) & (O_CREAT | O_EXCL)));
	must(fcntl(fd, F_SETFL, 0));
	must(ioctl(fd, FIONBIO, &on));
	observe("FIONBIO: nonblock %d", !!(fcntl(fd, F_GETFL) & O_NONBLOCK));
	must(ioctl(fd, FIOCLEX));
	observe("FIOCLEX: %d", fcntl(fd, F_GETFD));
	must(ioctl(fd, FIONCLEX));
	observe("FIONCLEX: %d", fcntl(fd, F_GETFD));
	must(fcntl(fd, F_SETFD, FD_CLOEXEC));
	int d = must(dup(fd));
	observe("F_SETFD on one: %d, its copy %d", fcntl(fd, F_GETFD), fcntl(d, F_GETFD));
	fails(fcntl(99, F_GETFL), EBADF);
	fails(fcntl(fd, 9999), EINVAL);
	fails(ioctl(fd, 0x5401, b), ENOTTY); /* TCGETS */
	int path = must(open("file", O_PATH));
	fails(read(path, b, 1), EBADF);
	fails(write(path, b, 1), EBADF);
	fails(syscall(SYS_fchmod, path, 0600), EBADF);
	fails(ioctl(path, FIONBIO, &on), EBADF);
	struct stat st;
	observe("fstat of O_PATH: %s, F_GETFL O_PATH %d", result(fstat(path, &st)), !!(fcntl(path, F_GETFL) & O_PATH));
	fails(open("file", O_RDONLY | O_DIRECTORY), ENOTDIR);
	fails(open(".", O_RDWR), EISDIR);
	fails(open("file", O_CREAT | O_EXCL, 0600), EEXIST);
	fails(open("nothing", O_RDONLY), ENOENT);
	fails(open("file/below", O_RDONLY), ENOTDIR);
	fails(open("", O_RDONLY), ENOENT);
	symlink("file", "link");
	symlink("nothing", "dangling");
	fails(open("link", O_RDONLY | O_NOFOLLOW), ELOOP);
	fails(open("dangling", O_CREAT | O_EXCL | O_WRONLY, 0600), EEXIST);
	observe("O_CREAT through a dangling link: %s, made: %s", ok(open("dangling", O_CREAT | O_WRONLY, 0600)), ok(access("nothing", F_OK)));
	return contract_end();
}
