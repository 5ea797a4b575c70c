/*
 * filesystem/rename_flags: renameat2: exchange, not replacing, and leaving a whiteout.
 *
 * Catches: a replaced file despite RENAME_NOREPLACE, an exchange that loses one, a whiteout that is an ordinary file, folders put into themselves.
 */
#include "contract.h"
#include <linux/fs.h>
#include <sys/sysmacros.h>

static int ren(const char *a, const char *b, unsigned flags) { return syscall(SYS_renameat2, AT_FDCWD, a, AT_FDCWD, b, flags); }

static void make(const char *name, const char *text)
{
	int fd = must(open(name, O_CREAT | O_TRUNC | O_WRONLY, 0644));
	must(write(fd, text, strlen(text)));
	close(fd);
}

static const char *get(const char *name)
{
	static char b[4][32];
	static int next;
	char *p = b[next++ & 3];
	int fd = open(name, O_RDONLY);
	if (fd < 0)
		return errno_name(errno);
	ssize_t n = read(fd, p, 31);
	if (n < 0)
		return errno_name(errno);
	p[n] = 0;
	close(fd);
	return p;
}

int main(void)
{
	struct stat st;
	make("a", "A"), make("b", "B");
	must(mkdir("d", 0755)), must(mkdir("d/sub", 0755));
	fails(ren("a", "b", RENAME_NOREPLACE), EEXIST);
	observe("untouched: %s %s", get("a"), get("b"));
	must(ren("a", "c", RENAME_NOREPLACE));
	observe("moved: a %s, c %s", get("a"), get("c"));
	must(ren("c", "b", RENAME_EXCHANGE));
	observe("exchanged: b %s, c %s", get("b"), get("c"));
	must(ren("b", "d", RENAME_EXCHANGE));
	must(lstat("b", &st));
	observe("a file and a folder: b is a folder %d with sub %s, d '%s'", S_ISDIR(st.st_mode), ok(access("b/sub", F_OK)), get("d"));
	must(ren("b", "d", RENAME_EXCHANGE));
	fails(ren("b", "none", RENAME_EXCHANGE), ENOENT);
	fails(ren("d", "d/sub", RENAME_EXCHANGE), EINVAL);
	fails(ren("d/sub", "d", RENAME_EXCHANGE), EINVAL);
	fails(ren("a", "b", RENAME_EXCHANGE | RENAME_NOREPLACE), EINVAL);
	fails(ren("b", "c", 0x80), EINVAL);
	must(link("b", "hard"));
	must(ren("b", "hard", RENAME_EXCHANGE));
	observe("two names of one file stay: %s %s", get("b"), get("hard"));
	must(rename("b", "hard"));
	observe("renaming one to the other does nothing: %s %s", get("b"), get("hard"));
	/* A whiteout is left behind. */
	must(ren("c", "moved", RENAME_WHITEOUT));
	must(lstat("c", &st));
	observe("whiteout: char device %d, number %d, moved %s", S_ISCHR(st.st_mode), st.st_rdev == makedev(0, 0), get("moved"));
	fails(ren("c", "b", RENAME_WHITEOUT | RENAME_EXCHANGE), EINVAL);
	observe("can be removed: %s", ok(unlink("c")));
	/* Ordinary rules. */
	fails(rename("d", "b"), ENOTDIR);
	fails(rename("b", "d"), EISDIR);
	must(mkdir("e", 0755));
	must(mkdir("e/full", 0755));
	fails(rename("d", "e"), ENOTEMPTY);
	must(rmdir("e/full"));
	observe("over an empty folder: %s", ok(rename("d", "e")));
	fails(rename("e", "e/sub/x"), EINVAL);
	fails(rename("e/.", "f"), EBUSY);
	fails(rename("none", "f"), ENOENT);
	fails(rename("b/", "f"), ENOTDIR);
	return contract_end();
}
