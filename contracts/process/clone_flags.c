/*
 * process/clone_flags: what clone shares and what it refuses.
 *
 * Catches: CLONE_FILES or CLONE_FS that copy, tid words not written, CLONE_PARENT ignored, impossible combinations accepted.
 */
#include "contract.h"
#include <sched.h>

static char stack[65536] __attribute__((aligned(16)));
static int fd, tid_word;

static int child(void *arg)
{
	switch (*(char *)arg) {
	case 'f':
		close(fd);
		return 0;
	case 'd':
		chdir("/");
		umask(077);
		return 0;
	case 'm':
		tid_word = 77;
		return 0;
	case 'p':
		return 8;
	}
	return 1;
}

static int run(char what, int flags)
{
	char arg = what;
	pid_t ptid = 0, ctid = 0;
	int p = clone(child, stack + sizeof stack, flags | SIGCHLD, &arg, &ptid, NULL, &ctid);
	require(p > 0, "clone");
	const char *end = reap(p);
	observe("%c: %s, parent's tid word %s", what, end, flags & CLONE_PARENT_SETTID ? (ptid == p ? "set" : "wrong") : (ptid ? "touched" : "untouched"));
	return p;
}

int main(void)
{
	char cwd[64];
	fd = must(dup(1));
	run('f', 0);
	observe("descriptor after a child without CLONE_FILES closed it: %s", ok(fcntl(fd, F_GETFD)));
	run('f', CLONE_FILES | CLONE_PARENT_SETTID);
	observe("and with: %s", ok(fcntl(fd, F_GETFD)));
	require(fcntl(fd, F_GETFD) == -1, "CLONE_FILES shares the table");
	run('d', 0);
	getcwd(cwd, sizeof cwd);
	observe("folder changed without CLONE_FS: %s", strcmp(cwd, "/") ? "no" : "yes");
	run('d', CLONE_FS);
	getcwd(cwd, sizeof cwd);
	observe("and with: %s, umask %03o", strcmp(cwd, "/") ? "no" : "yes", umask(022));
	run('m', 0);
	observe("memory without CLONE_VM: %d", tid_word);
	run('m', CLONE_VM);
	observe("and with: %d", tid_word);

	/* CLONE_PARENT: a sibling, not a child. */
	pid_t p = must(fork());
	if (p == 0) {
		char arg = 'p';
		int q = clone(child, stack + sizeof stack, CLONE_PARENT | SIGCHLD, &arg);
		require(q > 0, "clone");
		fails(waitpid(q, NULL, 0), ECHILD);
		_exit(3);
	}
	int sum = 0, st;
	while (wait(&st) > 0)
		sum += WEXITSTATUS(st);
	observe("statuses of child and sibling: %d", sum);
	require(sum == 11, "both are mine");

	fails(syscall(SYS_clone, CLONE_THREAD, 0, 0, 0, 0), EINVAL);
	fails(syscall(SYS_clone, CLONE_SIGHAND, 0, 0, 0, 0), EINVAL);
	fails(syscall(SYS_clone, CLONE_THREAD | CLONE_SIGHAND, 0, 0, 0, 0), EINVAL);
	fails(syscall(SYS_clone, CLONE_FS | CLONE_NEWNS, 0, 0, 0, 0), EINVAL);
	return contract_end();
}
