/*
 * subsystems/mount_forms: bind, move, remount and unmount, and what the flags of a mount forbid.
 *
 * Catches: flags that belong to the filesystem instead of the mount, a busy mount that goes away, a lazy one that stays, programs that run from noexec,
 * devices that open on nodev.
 */
#include "contract.h"
#include <sched.h>
#include <sys/mount.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>

static const char *flags_of(const char *path)
{
	static char b[64];
	struct statvfs v;
	must(statvfs(path, &v));
	snprintf(b, sizeof b, "%s%s%s%s", v.f_flag & ST_RDONLY ? "ro" : "rw", v.f_flag & ST_NOSUID ? ",nosuid" : "", v.f_flag & ST_NODEV ? ",nodev" : "", v.f_flag & ST_NOEXEC ? ",noexec" : "");
	return b;
}

int main(void)
{
	must(unshare(CLONE_NEWNS));
	must(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL));
	must(mkdir("a", 0755));
	must(mkdir("b", 0755));
	must(mkdir("c", 0755));
	fails(mount("none", "a", "nosuchfs", 0, NULL), ENODEV);
	fails(mount("none", "none", "tmpfs", 0, NULL), ENOENT);
	fails(mount("none", "a", NULL, 0, NULL), EINVAL);
	fails(mount("none", "a", "tmpfs", 0, "size=bogus"), EINVAL);
	fails(mount(NULL, "a", NULL, MS_BIND, NULL), EINVAL);
	fails(mount("none", "a", NULL, MS_REMOUNT, NULL), EINVAL);
	fails(mount("b", "a", NULL, MS_MOVE, NULL), EINVAL);
	must(mount("a", "a", "tmpfs", 0, "size=64k,mode=700,uid=3,gid=4"));
	struct stat st;
	must(stat("a", &st));
	observe("options: mode %o, uid %d, gid %d", st.st_mode & 07777, st.st_uid, st.st_gid);
	struct statfs sf;
	must(statfs("a", &sf));
	observe("type %#lx, %lu KiB", (long)sf.f_type, (unsigned long)(sf.f_blocks * sf.f_bsize / 1024));
	must(mkdir("a/sub", 0755));
	int fd = must(open("a/file", O_CREAT | O_RDWR, 0644));
	/* A bind is the same files through a mount with flags of its own. */
	must(mount("a", "b", NULL, MS_BIND, NULL));
	must(mount("none", "b", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID, NULL));
	observe("a %s", flags_of("a"));
	observe("b %s", flags_of("b"));
	fails(open("b/file", O_WRONLY), EROFS);
	fails(mkdir("b/x", 0755), EROFS);
	fails(unlink("b/file"), EROFS);
	fails(chmod("b/file", 0600), EROFS);
	observe("through a: %s", ok(mkdir("a/x", 0755)));
	fails(link("a/file", "b/file2"), EROFS);
	fails(rename("a/file", "b/file2"), EXDEV);
	/* The whole filesystem, while a file is open for writing. */
	fails(mount("none", "a", NULL, MS_REMOUNT | MS_RDONLY, NULL), EBUSY);
	close(fd);
	must(mount("none", "a", NULL, MS_REMOUNT | MS_RDONLY, NULL));
	fails(open("a/file", O_WRONLY), EROFS);
	must(mount("none", "b", NULL, MS_REMOUNT | MS_BIND, NULL));
	fails(open("b/file", O_WRONLY), EROFS);
	must(mount("none", "a", NULL, MS_REMOUNT, NULL));
	observe("b writable again: %s", ok(open("b/file", O_WRONLY)));
	/* nodev and noexec. */
	must(mknod("a/null", S_IFCHR | 0666, makedev(1, 3)));
	must(mount("none", "b", NULL, MS_REMOUNT | MS_BIND | MS_NODEV | MS_NOEXEC, NULL));
	fails(open("b/null", O_RDONLY), EACCES);
	observe("a's: %s", ok(open("a/null", O_RDONLY)));
	must(chmod("a/file", 0755));
	fails(execl("b/file", "file", NULL), EACCES);
	fails(access("b/file", X_OK), EACCES);
	fd = must(open("b/file", O_RDONLY));
	fails((long)mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0), EPERM);
	/* Busy, moved, lazy, expired. */
	fails(umount("b"), EBUSY);
	close(fd);
	must(umount2("b", MNT_DETACH)); /* descriptors of b/file from above are open still */
	observe("detached: %s", ok(access("b/file", F_OK)));
	must(mount("a", "c", NULL, MS_MOVE, NULL));
	observe("moved: %s %s", ok(access("a/file", F_OK)), ok(access("c/file", F_OK)));
	must(mkdir("c/sub/deep", 0755));
	fails(mount("c", "c/sub", NULL, MS_MOVE, NULL), ELOOP);
	fails(umount("c/sub"), EINVAL);
	fails(umount2("c", 0x100), EINVAL);
	fails(umount("nowhere"), ENOENT);
	must(mount("d", "c/sub", "tmpfs", 0, NULL));
	fails(umount("c"), EBUSY);
	fails(rmdir("c/sub"), EBUSY);
	must(mount("e", "c/sub", "tmpfs", 0, NULL));
	must(mkdir("c/sub/on top", 0755));
	must(umount("c/sub"));
	observe("what was below: %s", ok(access("c/sub/on top", F_OK)));
	must(chdir("c/sub"));
	fails(umount("../../c/sub"), EBUSY);
	must(chdir("../.."));
	fails(umount2("c/sub", MNT_EXPIRE), EAGAIN);
	observe("expired: %s", ok(umount2("c/sub", MNT_EXPIRE)));
	fails(umount2("c", MNT_EXPIRE | MNT_DETACH), EINVAL);
	must(mount("c/file", "c/null", NULL, MS_BIND, NULL)); /* a file on a file */
	observe("a file bound over a device: %s", ok(must(stat("c/null", &st)) == 0 && S_ISREG(st.st_mode) ? 0 : -1));
	fails(mount("c/file", "c/sub", NULL, MS_BIND, NULL), ENOTDIR);
	must(umount("c/null"));
	must(umount2("c", MNT_DETACH));
	pid_t p = must(fork());
	if (p == 0) {
		must(setuid(1000));
		fails(mount("none", "a", "tmpfs", 0, NULL), EPERM);
		fails(umount("/proc"), EPERM);
		_exit(0);
	}
	observe("unprivileged: %s", reap(p));
	return contract_end();
}
