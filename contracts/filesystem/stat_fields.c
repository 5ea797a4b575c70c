/*
 * filesystem/stat_fields: what stat, statx and statfs say of files of every type.
 *
 * Catches: wrong types, sizes of links, device numbers of nodes, blocks of sparse files counted as full, statx masks that lie.
 */
#include "contract.h"
#ifndef STATX_BASIC_STATS /* musl has neither the structure nor the call */
#include <linux/stat.h>
#define statx(...) syscall(SYS_statx, __VA_ARGS__)
#endif
#include <sys/statfs.h>
#include <sys/sysmacros.h>

static void show(const char *name)
{
	struct stat st;
	if (lstat(name, &st) < 0) {
		observe("%s: %s", name, errno_name(errno));
		return;
	}
	const char *type = S_ISREG(st.st_mode) ? "file" : S_ISDIR(st.st_mode) ? "folder" : S_ISLNK(st.st_mode) ? "link" : S_ISFIFO(st.st_mode) ? "fifo" : S_ISCHR(st.st_mode) ? "char" : S_ISSOCK(st.st_mode) ? "socket" : "other";
	observe("%s: %s mode %04o uid %d gid %d links %d size %ld rdev %d:%d", name, type, st.st_mode & 07777, st.st_uid, st.st_gid, (int)st.st_nlink,
		S_ISDIR(st.st_mode) ? 0L : (long)st.st_size, major(st.st_rdev), minor(st.st_rdev));
}

int main(void)
{
	struct stat st, twin;
	struct statx sx;
	struct statfs fs;
	int fd = must(open("file", O_RDWR | O_CREAT, 0640));
	write(fd, "12345", 5);
	must(mkfifo("fifo", 0600));
	symlink("file", "link");
	must(mkdir("folder", 0750));
	must(mknod("node", S_IFREG | 0600, 0));
	show("file");
	show("fifo");
	show("link");
	show("folder");
	show("node");
	show("/dev/null");
	show("/dev/zero");
	show("/dev/tty");
	fails(stat("file/", &st), ENOTDIR);
	fails(stat("", &st), ENOENT);
	fails(fstat(99, &st), EBADF);
	must(fstatat(fd, "", &st, AT_EMPTY_PATH));
	stat("file", &twin);
	observe("fstatat with an empty path: same inode %d, same device %d", st.st_ino == twin.st_ino, st.st_dev == twin.st_dev);
	must(ftruncate(fd, 1 << 20));
	fstat(fd, &st);
	observe("sparse: size %ld, less than 64 KiB of blocks %d, block size %ld", (long)st.st_size, st.st_blocks * 512 < 65536, (long)st.st_blksize);

	memset(&sx, 0xff, sizeof sx);
	must(statx(AT_FDCWD, "link", AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &sx));
	observe("statx: basic %d, mode %o, size %ld, links %d", (sx.stx_mask & STATX_BASIC_STATS) == STATX_BASIC_STATS, sx.stx_mode, (long)sx.stx_size, sx.stx_nlink);
	fails(statx(AT_FDCWD, "file", 0x10, STATX_BASIC_STATS, &sx), EINVAL);
	fails(statx(AT_FDCWD, "file", 0, 0x80000000, &sx), EINVAL);
	must(statfs(".", &fs));
	observe("statfs: type %#lx, block size %ld, name length %ld", (long)fs.f_type, (long)fs.f_bsize, (long)fs.f_namelen);
	must(statfs("/proc", &fs));
	observe("statfs of /proc: type %#lx", (long)fs.f_type);
	fails(statfs("nothing", &fs), ENOENT);
	return contract_end();
}
