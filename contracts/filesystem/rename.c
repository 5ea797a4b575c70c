/*
 * filesystem/rename: rename and its flags over files, folders and links.
 *
 * Catches: a target that is lost when rename fails, folders moved into themselves, RENAME_EXCHANGE that copies.
 */
#include "contract.h"

static void put(const char *name, const char *text)
{
	int fd = must(open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600));
	write(fd, text, strlen(text));
	close(fd);
}

static const char *get(const char *name)
{
	static char b[4][64];
	static int n;
	char *t = b[n++ & 3];
	int fd = open(name, O_RDONLY);
	if (fd < 0)
		return errno_name(errno);
	ssize_t r = read(fd, t, 63);
	t[r < 0 ? 0 : r] = 0;
	close(fd);
	return t;
}

static long rename2(const char *a, const char *b, unsigned flags) { return syscall(SYS_renameat2, AT_FDCWD, a, AT_FDCWD, b, flags); }

int main(void)
{
	struct stat one, two;
	put("a", "A");
	put("b", "B");
	stat("a", &one);
	must(rename("a", "b"));
	stat("b", &two);
	observe("over a file: %s, a %s, same inode %d", get("b"), get("a"), one.st_ino == two.st_ino);
	put("a", "A");
	fails(rename2("a", "b", 1), EEXIST);
	must(rename2("a", "b", 2));
	observe("exchanged: a %s, b %s", get("a"), get("b"));
	fails(rename2("a", "c", 2), ENOENT);
	fails(rename2("a", "c", 3), EINVAL);
	must(rename2("a", "c", 1));

	mkdir("d", 0700);
	mkdir("e", 0700);
	mkdir("d/inner", 0700);
	put("e/file", "F");
	fails(rename("d", "e"), ENOTEMPTY);
	fails(rename("d", "c"), ENOTDIR);
	fails(rename("c", "d"), EISDIR);
	fails(rename("d", "d/inner/deeper"), EINVAL);
	fails(rename("nothing", "x"), ENOENT);
	fails(rename("c/x", "y"), ENOTDIR);
	fails(rename(".", "z"), EBUSY);
	must(rename("e/file", "d/inner/file"));
	must(rename("d", "e"));
	observe("over an empty folder: %s", get("e/inner/file"));
	stat("e/inner/..", &one);
	stat("e", &two);
	observe("dotdot follows: %d, links %d", one.st_ino == two.st_ino, (int)two.st_nlink);
	mkdir("other", 0700);
	must(rename("e/inner", "other/inner"));
	stat("e", &one);
	stat("other", &two);
	observe("links after moving a folder: %d %d", (int)one.st_nlink, (int)two.st_nlink);

	put("x", "X");
	must(link("x", "y"));
	observe("onto another name of itself: %s, both stay: %s %s", result(rename("x", "y")), get("x"), get("y"));
	must(symlink("c", "s"));
	must(rename("s", "t"));
	observe("a link is moved itself: %s", get("t"));
	int fd = must(open("c", O_RDONLY));
	must(rename("x", "c"));
	char v = 0;
	read(fd, &v, 1);
	fstat(fd, &one);
	observe("an open file outlives being replaced: %c, links %d", v, (int)one.st_nlink);
	return contract_end();
}
