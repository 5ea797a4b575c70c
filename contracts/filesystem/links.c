/*
 * filesystem/links: hard and symbolic links: counts, targets, loops.
 *
 * Catches: link counts that go wrong, readlink that ends its answer with zero, loops that are followed for ever.
 */
#include "contract.h"

int main(void)
{
	struct stat st, l;
	char b[64];
	int fd = must(open("file", O_RDWR | O_CREAT, 0600));
	must(link("file", "second"));
	fstat(fd, &st);
	observe("links: %d", (int)st.st_nlink);
	write(fd, "abc", 3);
	stat("second", &l);
	observe("one inode: %d, size %ld", l.st_ino == st.st_ino, (long)l.st_size);
	must(unlink("file"));
	must(unlink("second"));
	fstat(fd, &st);
	observe("unlinked: links %d, still %s", (int)st.st_nlink, result(pread(fd, b, 3, 0)));

	must(symlink("some/where/else", "s"));
	memset(b, '#', sizeof b);
	observe("readlink: %s", result(readlink("s", b, sizeof b)));
	observe("  %.16s", b);
	memset(b, '#', sizeof b);
	observe("cut: %s %.6s", result(readlink("s", b, 4)), b);
	fails(syscall(SYS_readlinkat, AT_FDCWD, "s", b, 0), EINVAL);
	lstat("s", &l);
	observe("lstat: link %d, size %ld, mode %03o", S_ISLNK(l.st_mode), (long)l.st_size, l.st_mode & 0777);
	fails(stat("s", &l), ENOENT);
	fails(readlink(".", b, 10), EINVAL);
	fails(symlink("x", "s"), EEXIST);
	fails(symlink("", "empty"), ENOENT);
	fails(symlink("x", "no/such/folder"), ENOENT);

	mkdir("d", 0755);
	fails(link("d", "e"), EPERM);
	fails(link("nothing", "e"), ENOENT);
	close(must(open("d/f", O_CREAT | O_WRONLY, 0600)));
	fails(link("d/f", "s"), EEXIST);
	must(symlink("d", "to_d"));
	observe("through a link to a folder: %s", ok(access("to_d/f", F_OK)));
	fails(rmdir("to_d"), ENOTDIR);
	observe("lstat with a slash follows: %s, folder %d", result(lstat("to_d/", &l)), S_ISDIR(l.st_mode));
	must(link("s", "hard_to_s"));
	lstat("hard_to_s", &l);
	observe("a hard link to a symbolic one: link %d, links %d", S_ISLNK(l.st_mode), (int)l.st_nlink);
	symlink("ring2", "ring1");
	symlink("ring1", "ring2");
	fails(open("ring1", O_RDONLY), ELOOP);
	fails(access("ring1/x", F_OK), ELOOP);
	char name[16], to[16] = "d";
	for (int i = 0; i < 42; i++) {
		snprintf(name, sizeof name, "chain%d", i);
		must(symlink(to, name));
		strcpy(to, name);
	}
	observe("40 links: %s", ok(access("chain39/f", F_OK)));
	fails(access("chain40/f", F_OK), ELOOP);
	return contract_end();
}
