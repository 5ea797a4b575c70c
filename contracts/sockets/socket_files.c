/*
 * sockets/socket_files: a socket as a file: fstat, /proc/self/fd, ioctl, fcntl, and calls that sockets refuse.
 *
 * Catches: sizes that FIONREAD or SIOCOUTQ get wrong, O_NONBLOCK that is not shared by duplicates, files opened through a socket's name.
 */
#include "contract.h"
#include <linux/sockios.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/vfs.h>

static int count(int s, unsigned long request)
{
	int v = -1;
	return ioctl(s, request, &v) < 0 ? -errno : v;
}

int main(void)
{
	int s[2], d[2];
	char link[64], path[64], b[32];
	struct stat st, st2;
	struct statfs fs;
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	must(socketpair(AF_UNIX, SOCK_DGRAM, 0, d));
	must(fstat(s[0], &st)), must(fstat(s[1], &st2));
	observe("socket %d, mode %o, links %d, size %ld, owner %d", S_ISSOCK(st.st_mode), st.st_mode & 07777, (int)st.st_nlink, (long)st.st_size, (int)st.st_uid);
	observe("two inodes %d, one device %d", st.st_ino != st2.st_ino, st.st_dev == st2.st_dev);
	must(fstatfs(s[0], &fs));
	observe("sockfs %#lx", (long)fs.f_type);
	snprintf(path, sizeof path, "/proc/self/fd/%d", s[0]);
	snprintf(b, sizeof b, "socket:[%lu]", (unsigned long)st.st_ino);
	ssize_t n = must(readlink(path, link, sizeof link - 1));
	link[n] = 0;
	observe("/proc/self/fd: %d", !strcmp(link, b));
	fails(open(path, O_RDWR), ENXIO);
	observe("access mode %d", (fcntl(s[0], F_GETFL) & O_ACCMODE) == O_RDWR);

	must(write(s[0], "12345", 5)), must(write(s[0], "678", 3));
	observe("stream: FIONREAD %d", count(s[1], FIONREAD));
	observe("  not read by the peer: %d", count(s[0], SIOCOUTQ) > 0);
	must(read(s[1], b, 8));
	observe("  all read: FIONREAD %d, SIOCOUTQ %d", count(s[1], FIONREAD), count(s[0], SIOCOUTQ));
	must(write(d[0], "12345", 5)), must(write(d[0], "678", 3));
	observe("datagram: FIONREAD %d", count(d[1], FIONREAD));
	int l = must(socket(AF_UNIX, SOCK_STREAM, 0));
	must(bind(l, &(struct sockaddr){ .sa_family = AF_UNIX }, 2)), must(listen(l, 1));
	observe("listening: %s", errno_name(-count(l, FIONREAD)));
	observe("a terminal's request: %s", errno_name(-count(s[0], TIOCGWINSZ)));
	int t = must(socket(AF_INET, SOCK_STREAM, 0)), u = must(socket(AF_INET, SOCK_DGRAM, 0));
	observe("TCP: FIONREAD %d, SIOCOUTQ %d, SIOCATMARK %d", count(t, FIONREAD), count(t, SIOCOUTQ), count(t, SIOCATMARK));
	observe("UDP: FIONREAD %d, SIOCOUTQ %d", count(u, FIONREAD), count(u, SIOCOUTQ));

	int on = 1, dup_fd = must(dup(s[0]));
	must(ioctl(dup_fd, FIONBIO, &on));
	observe("FIONBIO on a duplicate: %d", !!(fcntl(s[0], F_GETFL) & O_NONBLOCK));
	fails(read(s[0], b, 1), EAGAIN);
	must(fcntl(s[0], F_SETOWN, getpid()));
	observe("F_GETOWN %d, SIOCGPGRP %d", fcntl(s[0], F_GETOWN) == getpid(), count(s[0], SIOCGPGRP) == getpid());

	fails(lseek(s[0], 0, SEEK_CUR), ESPIPE);
	fails(ftruncate(s[0], 0), EINVAL);
	fails((long)mmap(NULL, 4096, PROT_READ, MAP_SHARED, s[0], 0), ENODEV);
	fails(fsync(s[0]), EINVAL);
	fails(fallocate(s[0], 0, 0, 1), ENODEV);
	fails(syscall(SYS_getdents64, s[0], b, sizeof b), ENOTDIR);
	observe("read of nothing: %s", result(read(s[0], b, 0)));
	fails(read(s[0], (void *)16, 0 + 1), EAGAIN);
	must(write(s[1], "x", 1));
	fails(read(s[0], (void *)16, 1), EFAULT);
	observe("still there: %s", result(read(s[0], b, 4)));
	fails(write(s[0], (void *)16, 1), EFAULT);
	fails(write(d[0], (void *)16, 1), EFAULT);
	fails(fchdir(s[0]), ENOTDIR);
	observe("chmod: %s", result(fchmod(s[0], 0600)));
	must(fstat(s[0], &st));
	observe("  mode %o", st.st_mode & 07777);
	return contract_end();
}
