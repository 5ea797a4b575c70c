/*
 * subsystems/no_new_privs: set-user-id programs, and the promise not to gain by them.
 *
 * Catches: set-id bits that do nothing or that count on nosuid mounts and after the promise, a promise that children do not keep, AT_SECURE not told.
 */
#include "contract.h"
#include <sched.h>
#include <sys/auxv.h>
#include <sys/mount.h>
#include <sys/prctl.h>

static void copy_self(const char *to, uid_t uid, gid_t gid, mode_t mode)
{
	char b[65536];
	ssize_t n;
	int in = must(open("/proc/self/exe", O_RDONLY)), out = must(open(to, O_CREAT | O_WRONLY, 0755));
	while ((n = must(read(in, b, sizeof b))) > 0)
		must(write(out, b, n));
	close(in);
	close(out);
	must(chown(to, uid, gid));
	must(chmod(to, mode));
}

static void run(const char *program, const char *what, uid_t uid, int promise)
{
	pid_t p = must(fork());
	if (p == 0) {
		if (promise)
			must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
		must(setgid(uid));
		must(setuid(uid));
		execl(program, "no_new_privs", what, NULL);
		_exit(99);
	}
	const char *end = reap(p);
	if (strcmp(end, "exit 0"))
		observe("%s: %s", what, end);
}

int main(int argc, char **argv)
{
	if (argc > 1) {
		uid_t r, e, s;
		gid_t rg, eg, sg;
		must(getresuid(&r, &e, &s));
		must(getresgid(&rg, &eg, &sg));
		observe("%s: uids %d %d %d, gids %d %d %d, secure %lu, dumpable %d, promise %d", argv[1], r, e, s, rg, eg, sg, getauxval(AT_SECURE), prctl(PR_GET_DUMPABLE),
			prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
		return 0;
	}
	must(unshare(CLONE_NEWNS));
	must(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL));
	must(mkdir("bin", 0755));
	must(mount("bin", "bin", "tmpfs", 0, "mode=755"));
	copy_self("bin/uid", 2000, 0, 04755);
	copy_self("bin/gid", 0, 3000, 02755);
	copy_self("bin/gid_lock", 0, 3000, 02745);
	copy_self("bin/root", 0, 0, 06755);
	copy_self("bin/plain", 2000, 3000, 0755);
	run("bin/plain", "plain", 1000, 0);
	run("bin/uid", "set-user-id", 1000, 0);
	run("bin/gid", "set-group-id", 1000, 0);
	run("bin/gid_lock", "set-group-id without group execution", 3000, 0);
	run("bin/root", "to root", 1000, 0);
	run("bin/uid", "from root", 0, 0);
	run("bin/uid", "after the promise", 1000, 1);
	run("bin/root", "to root after the promise", 1000, 1);
	must(mount("none", "bin", NULL, MS_REMOUNT | MS_BIND | MS_NOSUID, NULL));
	run("bin/root", "nosuid", 1000, 0);
	must(mount("none", "bin", NULL, MS_REMOUNT | MS_BIND, NULL));
	int fd = must(open("bin/script", O_CREAT | O_WRONLY, 0755));
	must(write(fd, "#!/proc/self/cwd/bin/plain script\n", 34));
	close(fd);
	must(chown("bin/script", 2000, 0));
	must(chmod("bin/script", 04755));
	run("bin/script", "script", 1000, 0);
	/* Writing takes the bits away. */
	pid_t p = must(fork());
	if (p == 0) {
		must(chmod("bin/uid", 06777));
		must(setuid(1000));
		fd = must(open("bin/uid", O_WRONLY | O_APPEND));
		must(write(fd, "x", 1));
		struct stat st;
		must(fstat(fd, &st));
		observe("written by another: mode %o", st.st_mode & 07777);
		_exit(0);
	}
	reap(p);
	fails(prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0), EINVAL);
	fails(prctl(PR_SET_NO_NEW_PRIVS, 1, 1, 0, 0), EINVAL);
	return contract_end();
}
