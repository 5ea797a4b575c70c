/*
 * subsystems/namespaces: UTS, mount and PID namespaces.
 *
 * Catches: names that leak to the other namespace, mounts seen outside, a first process that is not 1, processes that outlive it.
 */
#include "contract.h"
#include <sched.h>
#include <sys/mount.h>

static char stack[65536] __attribute__((aligned(16)));
static int up[2];

static int first(void *x)
{
	(void)x;
	observe("in a PID namespace: pid %d, parent %d", getpid(), getppid());
	if (must(fork()) == 0) {
		observe("second process: pid %d, parent %d", getpid(), getppid());
		if (fork() == 0) {
			for (;;)
				pause();
		}
		_exit(0);
	}
	wait(NULL);
	return 6;
}

int main(void)
{
	char name[65] = { 0 };
	must(pipe(up));
	pid_t p = must(fork());
	if (p == 0) {
		must(unshare(CLONE_NEWUTS));
		must(sethostname("inside", 6));
		gethostname(name, sizeof name);
		observe("host name inside: %s", name);
		_exit(0);
	}
	reap(p);
	gethostname(name, sizeof name);
	observe("outside: %s", name);

	must(mkdir("m", 0755));
	p = must(fork());
	if (p == 0) {
		must(unshare(CLONE_NEWNS));
		must(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL));
		must(mount("t", "m", "tmpfs", 0, NULL));
		close(must(open("m/inside", O_CREAT | O_WRONLY, 0600)));
		_exit(0);
	}
	observe("mounts inside: %s, outside: %s", reap(p), ok(access("m/inside", F_OK)));
	p = clone(first, stack + sizeof stack, CLONE_NEWPID | SIGCHLD, NULL);
	require(p > 0, "clone(CLONE_NEWPID): %s", errno_name(errno));
	observe("first process of the namespace: %s", reap(p));
	fails(unshare(1), EINVAL);
	return contract_end();
}
