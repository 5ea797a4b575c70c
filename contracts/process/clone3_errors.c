/*
 * process/clone3_errors: what clone3 refuses, and the numbers that can be asked for.
 *
 * Catches: combinations accepted that make no sense, structures of unknown size, a wanted number that is given to somebody else.
 */
#include "contract.h"
#include <linux/sched.h>
#include <sched.h>

static void on_usr2(int s) { (void)s; }

static long clone3(struct clone_args *a, size_t size) { return syscall(SYS_clone3, a, size); }

static long with(uint64_t flags)
{
	struct clone_args a = { .flags = flags };
	return clone3(&a, sizeof a);
}

int main(void)
{
	struct clone_args a = { 0 };
	fails(clone3(&a, 8), EINVAL);
	fails(clone3(&a, 8192), E2BIG);
	fails(clone3(NULL, sizeof a), EFAULT);
	fails(with(CLONE_THREAD), EINVAL);
	fails(with(CLONE_SIGHAND), EINVAL);
	fails(with(CLONE_SIGHAND | CLONE_VM | CLONE_CLEAR_SIGHAND), EINVAL);
	fails(with(CLONE_NEWNS | CLONE_FS), EINVAL);
	fails(with(CLONE_NEWUSER | CLONE_FS), EINVAL);
	fails(with(CLONE_NEWIPC | CLONE_SYSVSEM), EINVAL);
	fails(with(CLONE_DETACHED), EINVAL);
	fails(with(0x11), EINVAL);
	fails(with(1ULL << 50), EINVAL);
	a.exit_signal = 65;
	fails(clone3(&a, sizeof a), EINVAL);
	a = (struct clone_args){ .flags = CLONE_PARENT, .exit_signal = SIGCHLD };
	fails(clone3(&a, sizeof a), EINVAL);
	a = (struct clone_args){ .stack = 4096 };
	fails(clone3(&a, sizeof a), EINVAL);
	a = (struct clone_args){ .stack_size = 4096 };
	fails(clone3(&a, sizeof a), EINVAL);
	a = (struct clone_args){ .flags = CLONE_INTO_CGROUP, .cgroup = 999 };
	fails(clone3(&a, sizeof a), EBADF);
	/* Numbers. */
	pid_t want[3] = { 0, 0, 0 };
	a = (struct clone_args){ .exit_signal = SIGCHLD, .set_tid = (uintptr_t)want };
	fails(clone3(&a, sizeof a), EINVAL);
	a.set_tid_size = 1;
	fails(clone3(&a, sizeof a), EINVAL); /* 0 */
	want[0] = getpid();
	fails(clone3(&a, sizeof a), EEXIST);
	want[0] = 3999;
	a.set_tid_size = 33;
	fails(clone3(&a, sizeof a), EINVAL);
	a.set_tid_size = 1;
	pid_t p = must(clone3(&a, sizeof a));
	if (p == 0)
		_exit(getpid() == 3999 ? 0 : 1);
	observe("the number asked for: %d, %s", p, reap(p));
	p = must(fork());
	if (p == 0) {
		must(setuid(1000));
		want[0] = 3998;
		fails(clone3(&a, sizeof a), EPERM);
		_exit(0);
	}
	reap(p);
	want[0] = 5;
	a.flags = CLONE_NEWPID;
	fails(clone3(&a, sizeof a), EINVAL); /* the first must be 1 */
	want[0] = 1, want[1] = 3997, a.set_tid_size = 2;
	p = must(clone3(&a, sizeof a));
	if (p == 0)
		_exit(getpid() == 1 ? 0 : 1);
	observe("two levels: %d, %s", p, reap(p));
	/* Handlers. */
	signal(SIGUSR1, SIG_IGN);
	signal(SIGUSR2, on_usr2);
	a = (struct clone_args){ .flags = CLONE_CLEAR_SIGHAND, .exit_signal = SIGCHLD };
	p = must(clone3(&a, sizeof a));
	if (p == 0) {
		struct sigaction one, two;
		sigaction(SIGUSR1, NULL, &one), sigaction(SIGUSR2, NULL, &two);
		_exit(one.sa_handler == SIG_IGN && two.sa_handler == SIG_DFL ? 0 : 1);
	}
	observe("ignored stay ignored, handlers are gone: %s", reap(p));
	/* No exit signal: only __WALL finds it. */
	a = (struct clone_args){ 0 };
	p = must(clone3(&a, sizeof a));
	if (p == 0)
		_exit(4);
	fails(waitpid(p, NULL, 0), ECHILD);
	int st;
	observe("with __WALL: %d, status %d", waitpid(p, &st, __WALL) == p, WEXITSTATUS(st));
	return contract_end();
}
