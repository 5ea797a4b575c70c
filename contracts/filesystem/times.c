/*
 * filesystem/times: which of a file's times change when, and setting them.
 *
 * Catches: mtime that a write does not move, ctime that can be set, nanoseconds lost, UTIME_OMIT ignored.
 */
#include "contract.h"

static struct stat before;

static int later(struct timespec a, struct timespec b) { return a.tv_sec > b.tv_sec || (a.tv_sec == b.tv_sec && a.tv_nsec > b.tv_nsec); }

static void mark(const char *name)
{
	struct timespec t[2] = { { 1000000, 1 }, { 2000000, 2 } };
	must(utimensat(AT_FDCWD, name, t, 0));
	usleep(15000); /* more than the granularity of file times */
	stat(name, &before);
}

static void changed(const char *what, const char *name)
{
	struct stat st;
	must(stat(name, &st));
	observe("%s: mtime %d, ctime %d", what, later(st.st_mtim, before.st_mtim), later(st.st_ctim, before.st_ctim));
}

int main(void)
{
	struct stat st;
	int fd = must(open("f", O_RDWR | O_CREAT, 0600));
	must(mkdir("d", 0755));
	mark("f");
	observe("set: %ld.%09ld %ld.%09ld", (long)before.st_atim.tv_sec, before.st_atim.tv_nsec, (long)before.st_mtim.tv_sec, before.st_mtim.tv_nsec);
	write(fd, "abc", 3);
	changed("write", "f");
	mark("f");
	char c;
	pread(fd, &c, 1, 0);
	changed("read", "f");
	mark("f");
	must(chmod("f", 0640));
	changed("chmod", "f");
	mark("f");
	must(link("f", "g"));
	changed("link", "f");
	mark("f");
	must(rename("g", "h"));
	changed("rename", "f");
	mark("f");
	must(ftruncate(fd, 3));
	changed("ftruncate to the same size", "f");
	mark("f");
	must(truncate("f", 1));
	changed("truncate", "f");
	mark("d");
	close(must(open("d/x", O_CREAT | O_WRONLY, 0600)));
	changed("folder, entry made", "d");
	mark("d");
	must(chmod("d/x", 0644));
	changed("folder, entry's mode changed", "d");
	mark("d");
	must(unlink("d/x"));
	changed("folder, entry removed", "d");

	struct timespec t[2] = { { 5, 6 }, { 0, UTIME_OMIT } };
	must(futimens(fd, t));
	fstat(fd, &st);
	observe("UTIME_OMIT: %ld.%09ld, the other recent %d", (long)st.st_atim.tv_sec, st.st_atim.tv_nsec, st.st_mtim.tv_sec > 1000000000);
	t[0].tv_nsec = UTIME_NOW;
	t[1] = (struct timespec){ 7, 8 };
	must(futimens(fd, t));
	fstat(fd, &st);
	observe("UTIME_NOW: recent %d, other %ld.%09ld", st.st_atim.tv_sec > 1000000000, (long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
	t[0].tv_nsec = 1000000000;
	fails(futimens(fd, t), EINVAL);
	symlink("f", "s");
	t[0] = t[1] = (struct timespec){ 11, 0 };
	must(utimensat(AT_FDCWD, "s", t, AT_SYMLINK_NOFOLLOW));
	lstat("s", &st);
	observe("a link's own time: %ld", (long)st.st_mtim.tv_sec);
	stat("s", &st);
	observe("its target's: %ld", (long)st.st_mtim.tv_sec);
	t[0] = t[1] = (struct timespec){ -100, 0 };
	must(utimensat(AT_FDCWD, "f", t, 0));
	stat("f", &st);
	observe("before 1970: %ld", (long)st.st_mtim.tv_sec);
	return contract_end();
}
