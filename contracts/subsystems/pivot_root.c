/*
 * subsystems/pivot_root: another root for a mount namespace, and chroot.
 *
 * Catches: a process that keeps the old root, an old root that cannot be reached or unmounted, "..": a way out of the new one.
 */
#include "contract.h"
#include <sched.h>
#include <sys/mount.h>

static long pivot_root(const char *new_root, const char *put_old) { return syscall(SYS_pivot_root, new_root, put_old); }

static const char *cwd(void)
{
	static char b[4][256];
	static int n;
	char *p = b[n++ & 3];
	return getcwd(p, 256) ? p : errno_name(errno);
}

int main(void)
{
	must(unshare(CLONE_NEWNS));
	must(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL));
	must(mkdir("new", 0755));
	must(mkdir("other", 0755));
	fails(pivot_root("new", "new"), EINVAL);
	fails(pivot_root("nowhere", "new"), ENOENT);
	must(mount("new", "new", "tmpfs", 0, NULL));
	must(mkdir("new/old", 0755));
	must(mkdir("new/etc", 0755));
	close(must(open("new/etc/here", O_CREAT | O_WRONLY, 0644)));
	fails(pivot_root("new/etc", "new/old"), EINVAL);
	fails(pivot_root("new", "other"), EINVAL);
	must(mount("other", "other", "tmpfs", 0, NULL));
	fails(pivot_root("new", "other"), EINVAL);
	fails(pivot_root("new", "new/etc/here"), ENOTDIR);
	int p[2], q[2];
	char c;
	must(pipe(p));
	must(pipe(q));
	pid_t child = must(fork());
	if (child == 0) { /* shares the namespace: its root moves along */
		must(chdir("/"));
		must(write(q[1], "r", 1));
		must(read(p[0], &c, 1));
		observe("a process that stood in the root: %s, /etc/here %s", cwd(), ok(access("/etc/here", F_OK)));
		_exit(0);
	}
	must(read(q[0], &c, 1));
	must(chdir("new"));
	must(pivot_root(".", "old"));
	must(write(p[1], "g", 1));
	observe("%s", reap(child));
	observe("now: cwd %s, /etc/here %s, /old/proc %s", cwd(), ok(access("/etc/here", F_OK)), ok(access("/old/proc", F_OK)));
	must(chdir("/.."));
	observe("above the root: %s", cwd());
	fails(umount("/old"), EBUSY);
	must(umount2("/old", MNT_DETACH));
	fails(rmdir("/old/proc"), ENOENT);
	observe("gone: %s", ok(rmdir("/old")));
	/* chroot is of the process, and a descriptor leads out of it. */
	must(mkdir("/jail", 0755));
	must(mkdir("/jail/in", 0755));
	int out = must(open("/", O_RDONLY | O_DIRECTORY));
	must(chroot("/jail"));
	observe("chroot: /in %s, /etc %s, cwd %s", ok(access("/in", F_OK)), ok(access("/etc", F_OK)), strncmp(cwd(), "(unreachable)", 13) == 0 || !strcmp(cwd(), "ENOENT") ? "unreachable" : cwd());
	must(chdir("/"));
	must(chdir("../.."));
	observe("..: %s", cwd());
	must(fchdir(out));
	observe("by a descriptor: etc %s", ok(access("etc/here", F_OK)));
	must(chroot("."));
	observe("back: /etc %s", ok(access("/etc", F_OK)));
	fails(chroot("/etc/here"), ENOTDIR);
	child = must(fork());
	if (child == 0) {
		must(setuid(1000));
		fails(chroot("/"), EPERM);
		fails(pivot_root(".", "."), EPERM);
		_exit(0);
	}
	observe("unprivileged: %s", reap(child));
	/* The stacked form that containers use: both in one place. */
	must(mkdir("/next", 0755));
	must(mount("next", "/next", "tmpfs", 0, NULL));
	close(must(open("/next/marker", O_CREAT | O_WRONLY, 0644)));
	must(chdir("/next"));
	must(pivot_root(".", "."));
	must(umount2(".", MNT_DETACH));
	must(chdir("/"));
	observe("stacked: /marker %s, /etc %s", ok(access("/marker", F_OK)), ok(access("/etc", F_OK)));
	return contract_end();
}
