/*
 * fd/path_tmpfile: O_PATH descriptors, and files without a name (O_TMPFILE).
 *
 * Catches: data read through O_PATH, permissions checked that must not be, a nameless file that cannot be given a name or can against O_EXCL, names that show.
 */
#include "contract.h"
#include <dirent.h>
#include <sys/ioctl.h>

int main(void)
{
	char b[128], path[64];
	struct stat st, st2;
	close(must(open("f", O_CREAT | O_WRONLY, 0000)));
	int p = must(open("f", O_PATH));
	observe("flags %#x", fcntl(p, F_GETFL) & ~0100000);
	fails(read(p, b, 1), EBADF);
	fails(write(p, b, 1), EBADF);
	fails(fchmod(p, 0600), EBADF);
	fails(fchown(p, 0, 0), EBADF);
	fails(ftruncate(p, 0), EBADF);
	fails(lseek(p, 0, SEEK_SET), EBADF);
	fails(ioctl(p, 0x5401, b), EBADF);
	fails((long)mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, p, 0), EBADF);
	fails(fcntl(p, F_SETFL, O_APPEND), EBADF);
	observe("fstat %s, dup %s, F_SETFD %s", ok(fstat(p, &st)), ok(dup(p)), ok(fcntl(p, F_SETFD, FD_CLOEXEC)));
	snprintf(path, sizeof path, "/proc/self/fd/%d", p);
	observe("opened through /proc: %s", ok(open(path, O_RDONLY)));
	must(symlink("f", "link"));
	int l = must(open("link", O_PATH | O_NOFOLLOW));
	must(fstat(l, &st));
	observe("the link itself: %d", S_ISLNK(st.st_mode));
	ssize_t n = must(readlinkat(l, "", b, sizeof b));
	observe("readlinkat: '%.*s'", (int)n, b);
	fails(open("link", O_RDONLY | O_NOFOLLOW), ELOOP);
	int d = must(open(".", O_PATH | O_DIRECTORY));
	observe("relative to it: %s, fchdir %s", ok(faccessat(d, "f", F_OK, 0)), ok(fchdir(d)));
	fails(openat(d, "none", O_RDONLY), ENOENT);
	fails(syscall(SYS_getdents64, d, b, sizeof b), EBADF);
	fails(open("f", O_PATH | O_DIRECTORY), ENOTDIR);
	observe("O_PATH with O_CREAT makes nothing: %s", ok(open("made", O_PATH | O_CREAT, 0600)));
	pid_t c = must(fork());
	if (c == 0) {
		must(setuid(1000));
		observe("of a file one may not read: %s", ok(c = open("f", O_PATH)));
		_exit(0);
	}
	reap(c);
	/* Nameless. */
	int t = must(open(".", O_TMPFILE | O_RDWR, 0640));
	must(fstat(t, &st));
	observe("mode %o, links %lu, size %ld", st.st_mode, (unsigned long)st.st_nlink, (long)st.st_size);
	must(write(t, "contents", 8));
	DIR *dir = opendir(".");
	int names = 0;
	while (readdir(dir))
		names++;
	closedir(dir);
	observe("names in the folder: %d", names);
	snprintf(path, sizeof path, "/proc/self/fd/%d", t);
	must(linkat(AT_FDCWD, path, AT_FDCWD, "named", AT_SYMLINK_FOLLOW));
	must(stat("named", &st2));
	observe("named: same file %d, links %lu, size %ld", st.st_ino == st2.st_ino, (unsigned long)st2.st_nlink, (long)st2.st_size);
	fails(linkat(AT_FDCWD, path, AT_FDCWD, "named", AT_SYMLINK_FOLLOW), EEXIST);
	observe("by AT_EMPTY_PATH: %s", ok(linkat(t, "", AT_FDCWD, "again", AT_EMPTY_PATH)));
	int x = must(open(".", O_TMPFILE | O_RDWR | O_EXCL, 0600));
	snprintf(path, sizeof path, "/proc/self/fd/%d", x);
	fails(linkat(AT_FDCWD, path, AT_FDCWD, "never", AT_SYMLINK_FOLLOW), ENOENT);
	fails(open(".", O_TMPFILE | O_RDONLY, 0600), EINVAL);
	fails(open("f", O_TMPFILE | O_RDWR, 0600), ENOTDIR);
	fails(open("none", O_TMPFILE | O_RDWR, 0600), ENOENT);
	return contract_end();
}
