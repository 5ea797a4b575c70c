/*
 * subsystems/user_namespace: the map of one user that programs without privilege make, and what it is worth.
 *
 * Catches: capabilities over the whole machine, ids that are not translated, a map that can be written twice or claims other users, setgroups as a way
 * to lose a group.
 */
#include "contract.h"
#include <grp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>

static long put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	if (fd < 0)
		return -1;
	ssize_t n = write(fd, text, strlen(text));
	int e = errno;
	close(fd);
	errno = e;
	return n < 0 ? -1 : 0;
}

static const char *get(const char *path)
{
	static char b[4][128];
	static int next;
	char *p = b[next++ & 3];
	int fd = must(open(path, O_RDONLY));
	ssize_t n = must(read(fd, p, 127));
	p[n > 0 ? n - 1 : 0] = 0;
	close(fd);
	return p;
}

int main(void)
{
	must(chmod(".", 0777));
	must(mkdir("m", 0777));
	close(must(open("roots", O_CREAT | O_WRONLY, 0600)));
	pid_t p = must(fork());
	if (p == 0) {
		must(setgroups(0, NULL));
		must(setgid(1000));
		must(setuid(1000));
		must(prctl(PR_SET_DUMPABLE, 1));
		must(unshare(CLONE_NEWUSER));
		observe("not mapped: uid %d gid %d", getuid(), getgid());
		observe("map empty: '%s', setgroups %s", get("/proc/self/uid_map"), get("/proc/self/setgroups"));
		fails(setuid(0), EINVAL);
		fails(setgroups(0, NULL), EPERM);
		fails(put("/proc/self/uid_map", "0 0 1"), EPERM);
		fails(put("/proc/self/uid_map", "0 1000 2"), EPERM);
		fails(put("/proc/self/uid_map", "0 1000"), EINVAL);
		fails(put("/proc/self/gid_map", "0 1000 1"), EPERM);
		must(put("/proc/self/setgroups", "deny"));
		must(put("/proc/self/gid_map", "0 1000 1"));
		must(put("/proc/self/uid_map", "0 1000 1"));
		fails(put("/proc/self/uid_map", "0 1000 1"), EPERM);
		fails(put("/proc/self/setgroups", "allow"), EPERM);
		observe("mapped: uid %d gid %d, map '%s'", getuid(), getgid(), get("/proc/self/uid_map"));
		fails(setgroups(0, NULL), EPERM);
		fails(setuid(1000), EINVAL);
		/* Privileged inside, not outside. */
		fails(sethostname("x", 1), EPERM);
		fails(mount("none", "m", "tmpfs", 0, NULL), EPERM);
		fails(open("roots", O_RDONLY), EACCES);
		fails(chown("roots", 0, 0), EPERM);
		fails(mknod("dev", S_IFCHR | 0600, 0x103), EPERM);
		struct stat st;
		must(stat("roots", &st));
		observe("root's file: uid %d gid %d", st.st_uid, st.st_gid);
		close(must(open("mine", O_CREAT | O_WRONLY, 0644)));
		must(stat("mine", &st));
		observe("own file: uid %d gid %d", st.st_uid, st.st_gid);
		fails(chown("mine", 5, -1), EINVAL);
		must(unshare(CLONE_NEWUTS | CLONE_NEWNS | CLONE_NEWIPC));
		observe("own host name: %s", ok(sethostname("x", 1)));
		must(mount("none", "m", "tmpfs", 0, NULL));
		observe("own mount: %s", ok(mkdir("m/dir", 0755)));
		fails(umount("/proc"), EINVAL);
		/* One more below. */
		must(unshare(CLONE_NEWUSER));
		must(put("/proc/self/uid_map", "7 0 1"));
		observe("below: uid %d, map '%s'", getuid(), get("/proc/self/uid_map"));
		_exit(0);
	}
	observe("%s", reap(p));
	struct stat st;
	must(stat("mine", &st));
	observe("outside its file is %d's", st.st_uid);
	fails(put("/proc/self/uid_map", "0 0 1"), EPERM);
	return contract_end();
}
