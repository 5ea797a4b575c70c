/*
 * process/vfork: the parent sleeps until its vfork child has executed or ended, and both share memory until then.
 *
 * Catches: vfork implemented as fork (writes invisible) or without the wait (parent runs on a stack in use).
 *
 * musl's vfork for arm64 is fork.
 *
 * Libc: glibc
 */
#include "contract.h"
#include <sched.h>
#include <spawn.h>

static volatile int shared;

static int child(void *unused)
{
	(void)unused;
	shared = 1;
	usleep(20000);
	shared = 2;
	_exit(4);
}

extern char **environ;

int main(int argc, char **argv)
{
	if (argc > 1)
		return 6;
	pid_t p = vfork();
	if (p == 0) {
		shared = 5;
		_exit(3);
	}
	observe("after vfork: shared %d, %s", shared, reap(p));
	require(shared == 5, "memory is shared");

	static char stack[65536] __attribute__((aligned(16)));
	p = clone(child, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, NULL);
	observe("after clone(VM|VFORK): shared %d, %s", shared, reap(p));
	require(shared == 2, "the parent waits for the end of the child");

	char *args[] = { argv[0], "again", NULL };
	int r = posix_spawn(&p, "/proc/self/exe", NULL, NULL, args, environ);
	observe("posix_spawn: %d, %s", r, reap(p));
	r = posix_spawn(&p, "/not/there", NULL, NULL, args, environ);
	observe("posix_spawn of nothing: %s", errno_name(r));
	require(r == ENOENT, "the child's errno arrives");
	posix_spawn_file_actions_t actions;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 5, "made", O_CREAT | O_WRONLY, 0600);
	r = posix_spawn(&p, "/proc/self/exe", &actions, NULL, args, environ);
	observe("posix_spawn with actions: %s, %s, file made: %s", errno_name(r), r ? "-" : reap(p), ok(access("made", F_OK)));
	return contract_end();
}
