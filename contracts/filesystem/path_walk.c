/*
 * filesystem/path_walk: how names are resolved: slashes, dots, lengths, *at calls, openat2.
 *
 * Catches: ".." above the root that escapes, trailing slashes ignored, names of 256 bytes accepted, RESOLVE_BENEATH that follows links out.
 */
#include "contract.h"
#include <linux/openat2.h>

static long open2(int at, const char *path, uint64_t flags, uint64_t resolve)
{
	struct open_how how = { .flags = flags, .resolve = resolve };
	long r = syscall(SYS_openat2, at, path, &how, sizeof how);
	if (r >= 0)
		close(r);
	return r;
}

int main(void)
{
	struct stat a, b;
	char name[300], path[5000];
	must(mkdir("d", 0755));
	close(must(open("d/f", O_CREAT | O_WRONLY, 0600)));
	observe("doubled slashes and dots: %s", ok(access(".//d/././//f", F_OK)));
	observe("through dotdot: %s", ok(access("d/../d/f", F_OK)));
	fails(access("d/f/..", F_OK), ENOTDIR);
	fails(access("d/f/", F_OK), ENOTDIR);
	fails(access("no/..", F_OK), ENOENT);
	stat("/", &a);
	stat("/../..", &b);
	observe("dotdot of the root is the root: %d", a.st_ino == b.st_ino && a.st_dev == b.st_dev);
	memset(name, 'n', 300);
	name[255] = 0;
	int fd = open(name, O_CREAT | O_WRONLY, 0600);
	observe("a name of 255: %s", ok(fd));
	name[255] = 'n';
	name[256] = 0;
	fails(open(name, O_CREAT | O_WRONLY, 0600), ENAMETOOLONG);
	memset(path, '.', sizeof path);
	for (int i = 1; i < 4999; i += 2)
		path[i] = '/';
	path[4999] = 0;
	fails(access(path, F_OK), ENAMETOOLONG);
	path[4001] = 0;
	observe("4001 bytes of ./: %s", ok(access(path, F_OK)));
	fails(open("d/", O_CREAT | O_WRONLY, 0600), EISDIR);
	fails(open("new/", O_CREAT | O_WRONLY, 0600), EISDIR);
	observe("mkdir with a slash: %s", result(mkdir("made/", 0755)));

	int d = must(open("d", O_RDONLY | O_DIRECTORY));
	observe("openat: %s", ok(openat(d, "f", O_RDONLY)));
	fails(openat(99, "f", O_RDONLY), EBADF);
	snprintf(path, sizeof path, "/proc/self/fd/%d/f", d);
	observe("through /proc/self/fd: %s", ok(access(path, F_OK)));
	fails(openat(must(openat(d, "f", O_RDONLY)), "x", O_RDONLY), ENOTDIR);
	observe("an absolute path needs no folder: %s", ok(openat(99, "/dev/null", O_RDONLY)));

	symlink("/dev/null", "d/out");
	symlink("../d/f", "d/up");
	symlink("f", "d/in");
	observe("openat2: %s", ok(open2(d, "f", O_RDONLY, 0)));
	observe("beneath: f %s, in %s, up %s, out %s, dotdot %s", ok(open2(d, "f", 0, RESOLVE_BENEATH)), ok(open2(d, "in", 0, RESOLVE_BENEATH)), ok(open2(d, "up", 0, RESOLVE_BENEATH)),
		ok(open2(d, "out", 0, RESOLVE_BENEATH)), ok(open2(d, "..", 0, RESOLVE_BENEATH)));
	observe("in root: up %s, out %s", ok(open2(d, "up", 0, RESOLVE_IN_ROOT)), ok(open2(d, "out", 0, RESOLVE_IN_ROOT)));
	observe("no links: f %s, in %s", ok(open2(d, "f", 0, RESOLVE_NO_SYMLINKS)), ok(open2(d, "in", 0, RESOLVE_NO_SYMLINKS)));
	observe("other file system: %s", ok(open2(AT_FDCWD, "/proc/self/stat", 0, RESOLVE_NO_XDEV)));
	observe("unknown bits: %s, %s", ok(open2(d, "f", 0, 0x1000)), ok(open2(d, "f", 1ULL << 40, 0)));
	return contract_end();
}
