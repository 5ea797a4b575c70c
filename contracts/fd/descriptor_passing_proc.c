/*
 * fd/descriptor_passing_proc: /proc/self/fd shows and reopens what descriptors hold.
 *
 * Catches: links without targets, " (deleted)" missing, reopening that shares the offset.
 */
#include "contract.h"
#include <dirent.h>

static void link_of(int fd, const char *what)
{
	char path[64], to[256] = { 0 };
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	ssize_t n = readlink(path, to, sizeof to - 1);
	char *name = strrchr(to, '/');
	observe("%s: %s", what, n < 0 ? errno_name(errno) : name ? name : strncmp(to, "pipe:[", 6) ? to : "pipe:[...]");
}

int main(void)
{
	int p[2], count = 0;
	char b[8] = { 0 }, path[64];
	int fd = must(open("file", O_RDWR | O_CREAT, 0600));
	must(pipe(p));
	write(fd, "content", 7);
	link_of(fd, "file");
	link_of(p[0], "pipe");
	link_of(0, "standard input");
	link_of(99, "closed");
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	int again = must(open(path, O_RDONLY));
	observe("reopened: %s %s, first one's offset %ld", result(read(again, b, 7)), b, (long)lseek(fd, 0, SEEK_CUR));
	fails(write(again, "x", 1), EBADF);
	unlink("file");
	link_of(fd, "unlinked");
	again = must(open(path, O_RDONLY));
	observe("an unlinked file can be reopened: %s", result(read(again, b, 7)));
	DIR *d = opendir("/proc/self/fd");
	for (struct dirent *e; (e = readdir(d));)
		count += e->d_name[0] != '.' && atoi(e->d_name) != dirfd(d);
	closedir(d);
	observe("entries: %d", count);
	snprintf(path, sizeof path, "/dev/fd/%d", p[0]);
	int in = must(open(path, O_RDONLY | O_NONBLOCK));
	write(p[1], "xyz", 3);
	observe("a pipe reopened: %s", result(read(in, b, 7)));
	return contract_end();
}
