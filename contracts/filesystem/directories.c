/*
 * filesystem/directories: mkdir, rmdir, getdents, the working folder and ones that vanished.
 *
 * Catches: entries missed or doubled while the folder changes, link counts of folders, a removed working folder that can be written.
 */
#include "contract.h"
#include <dirent.h>

static int compare(const void *a, const void *b) { return strcmp(*(char **)a, *(char **)b); }

static void list(const char *path)
{
	char *names[64], line[512] = "";
	int n = 0;
	DIR *d = opendir(path);
	require(d, "opendir");
	for (struct dirent *e; (e = readdir(d)) && n < 64;) {
		char text[300];
		snprintf(text, sizeof text, "%s(%s)", e->d_name, e->d_type == DT_DIR ? "d" : e->d_type == DT_REG ? "f" : e->d_type == DT_LNK ? "l" : "?");
		names[n++] = strdup(text);
	}
	closedir(d);
	qsort(names, n, sizeof *names, compare);
	for (int i = 0; i < n; i++) {
		strcat(line, " ");
		strcat(line, names[i]);
	}
	observe("%s:%s", path, line);
}

int main(void)
{
	struct stat st;
	char b[300];
	must(mkdir("d", 0755));
	stat("d", &st);
	observe("new folder: links %d, mode %03o", (int)st.st_nlink, st.st_mode & 0777);
	must(mkdir("d/sub", 0777));
	stat("d", &st);
	observe("with one inside: %d", (int)st.st_nlink);
	close(must(open("d/f", O_CREAT | O_WRONLY, 0600)));
	symlink("f", "d/l");
	list("d");
	fails(mkdir("d", 0755), EEXIST);
	fails(mkdir("d/f/x", 0755), ENOTDIR);
	fails(mkdir("no/x", 0755), ENOENT);
	fails(rmdir("d"), ENOTEMPTY);
	fails(rmdir("d/f"), ENOTDIR);
	fails(rmdir("d/."), EINVAL);
	fails(rmdir("d/sub/.."), ENOTEMPTY);
	fails(unlink("d"), EISDIR);
	fails(unlink("no"), ENOENT);
	fails(unlinkat(AT_FDCWD, "d", 0), EISDIR);
	observe("unlinkat AT_REMOVEDIR: %s", result(unlinkat(AT_FDCWD, "d/sub", AT_REMOVEDIR)));
	list("d");

	/* Removing while reading: everything that stays is seen exactly once. */
	for (int i = 0; i < 50; i++) {
		snprintf(b, sizeof b, "d/n%02d", i);
		close(must(open(b, O_CREAT | O_WRONLY, 0600)));
	}
	DIR *dir = opendir("d");
	int seen = 0, twice = 0;
	char was[50] = { 0 };
	for (struct dirent *e; (e = readdir(dir));)
		if (e->d_name[0] == 'n') {
			int i = atoi(e->d_name + 1);
			twice += was[i]++;
			seen++;
			snprintf(b, sizeof b, "d/%s", e->d_name);
			must(unlink(b));
		}
	rewinddir(dir);
	int left = 0;
	for (struct dirent *e; (e = readdir(dir));)
		left += e->d_name[0] == 'n';
	closedir(dir);
	observe("removed while reading: seen %d, twice %d, left %d", seen, twice, left);
	require(seen == 50 && !twice && !left, "each entry once");

	must(mkdir("gone", 0755));
	must(chdir("gone"));
	must(rmdir("../gone"));
	fails(open("x", O_CREAT | O_WRONLY, 0600), ENOENT);
	fails(mkdir("x", 0700), ENOENT);
	fails(syscall(SYS_getcwd, b, sizeof b), ENOENT);
	observe("dot is still there: %s, links %d", result(stat(".", &st)), (int)st.st_nlink);
	must(chdir(".."));
	int fd = must(open("d", O_RDONLY | O_DIRECTORY));
	must(fchdir(fd));
	must(getcwd(b, sizeof b) ? 0 : -1);
	observe("getcwd ends in %s", strrchr(b, '/'));
	fails(syscall(SYS_getcwd, b, 3), ERANGE);
	fails(chdir("f"), ENOTDIR);
	fails(chdir("no"), ENOENT);
	fails(read(fd, b, 10), EISDIR);
	fails(write(fd, b, 10), EBADF);
	fails(syscall(SYS_getdents64, fd, b, 3), EINVAL);
	fails(syscall(SYS_getdents64, 0, b, 300), ENOTDIR);
	return contract_end();
}
