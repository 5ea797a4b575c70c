/*
 * subsystems/setns_forms: entering other namespaces, by descriptor and by pidfd, and the links in /proc/PID/ns.
 *
 * Catches: links whose numbers do not tell namespaces apart, a namespace that ends with its last process though a descriptor holds it, half an entrance
 * when one of several kinds fails.
 */
#include "contract.h"
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>

static ino_t ns(pid_t pid, const char *kind)
{
	char path[64];
	struct stat st;
	snprintf(path, sizeof path, "/proc/%d/ns/%s", pid, kind);
	must(stat(path, &st));
	return st.st_ino;
}

int main(void)
{
	static const char *const kinds[] = { "cgroup", "ipc", "mnt", "net", "pid", "pid_for_children", "user", "uts" };
	char text[64], path[64], want[64], c;
	int go[2], up[2];
	must(pipe(go));
	must(pipe(up));
	for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		snprintf(path, sizeof path, "/proc/self/ns/%s", kinds[i]);
		ssize_t n = must(readlink(path, text, sizeof text - 1));
		text[n] = 0;
		snprintf(want, sizeof want, "%s:[%lu]", i == 5 ? "pid" : kinds[i], (unsigned long)ns(getpid(), kinds[i]));
		observe("%s: link tells the number %d", kinds[i], !strcmp(text, want));
	}
	pid_t p = must(fork());
	if (p == 0) {
		must(unshare(CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNS | CLONE_NEWPID));
		must(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL));
		must(sethostname("there", 5));
		must(mkdir("/tmp/setns", 0755));
		must(mount("t", "/tmp/setns", "tmpfs", 0, NULL));
		must(mkdir("/tmp/setns/inside", 0755));
		must(write(up[1], "u", 1));
		must(read(go[0], &c, 1));
		_exit(0);
	}
	must(read(up[0], &c, 1));
	observe("its own: uts %d ipc %d mnt %d pid %d children's %d user %d", ns(p, "uts") != ns(getpid(), "uts"), ns(p, "ipc") != ns(getpid(), "ipc"),
		ns(p, "mnt") != ns(getpid(), "mnt"), ns(p, "pid") != ns(getpid(), "pid"), 0, ns(p, "user") != ns(getpid(), "user"));
	int pidfd = must(syscall(SYS_pidfd_open, p, 0));
	snprintf(path, sizeof path, "/proc/%d/ns/uts", p);
	int uts = must(open(path, O_RDONLY | O_CLOEXEC));
	observe("type: %d", ioctl(uts, 0xb703) == CLONE_NEWUTS);
	fails(ioctl(uts, 0xb702), EINVAL);
	fails(write(uts, "x", 1), EBADF);
	pid_t q = must(fork());
	if (q == 0) {
		char host[64] = "";
		fails(setns(pidfd, 0), EINVAL);
		fails(setns(pidfd, 1), EINVAL);
		must(setns(pidfd, CLONE_NEWUTS | CLONE_NEWNS));
		gethostname(host, sizeof host);
		observe("by pidfd: host %s, mounts %s, ipc %d", host, ok(access("/tmp/setns/inside", F_OK)), ns(getpid(), "ipc") == ns(p, "ipc"));
		char cwd[64];
		observe("stands in %s", getcwd(cwd, sizeof cwd) ? cwd : "?");
		_exit(0);
	}
	observe("%s", reap(q));
	q = must(fork());
	if (q == 0) { /* what one thread shares, it cannot leave */
		snprintf(path, sizeof path, "/proc/%d/ns/mnt", p);
		int mnt = must(open(path, O_RDONLY));
		pid_t v = must(syscall(SYS_clone, CLONE_FS | SIGCHLD, 0, 0, 0, 0));
		if (v == 0) {
			fails(setns(mnt, 0), EINVAL);
			_exit(0);
		}
		observe("shared file system place: %s", reap(v));
		_exit(0);
	}
	observe("%s", reap(q));
	int self = must(open("/proc/self/ns/user", O_RDONLY));
	fails(setns(self, 0), EINVAL);
	must(write(go[1], "g", 1));
	observe("owner: %s", reap(p));
	fails(setns(pidfd, CLONE_NEWUTS), ESRCH);
	q = must(fork());
	if (q == 0) {
		char host[64] = "";
		must(setns(uts, 0));
		gethostname(host, sizeof host);
		observe("held by the descriptor: %s", host);
		_exit(0);
	}
	observe("%s", reap(q));
	/* A namespace kept by a mount. */
	must(unshare(CLONE_NEWNS));
	must(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL));
	close(must(open("kept", O_CREAT | O_WRONLY, 0600)));
	q = must(fork());
	if (q == 0) {
		must(unshare(CLONE_NEWUTS));
		must(sethostname("kept", 4));
		must(mount("/proc/self/ns/uts", "kept", NULL, MS_BIND, NULL));
		_exit(0);
	}
	observe("%s", reap(q));
	int kept = must(open("kept", O_RDONLY));
	must(setns(kept, CLONE_NEWUTS));
	gethostname(text, sizeof text);
	observe("by the mount: %s", text);
	return contract_end();
}
