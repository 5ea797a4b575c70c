/*
 * subsystems/pid_namespace: numbers, orphans and death in a PID namespace.
 *
 * Catches: numbers of the outside seen inside, orphans that go to the wrong init, an init that dies of its children's signals, processes that outlive
 * init, a namespace that goes on without one.
 */
#include "contract.h"
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>

static int from_inside[2];

static void say(const char *text) { must(write(from_inside[1], text, strlen(text))); }

static int inside(void)
{
	char b[64];
	observe("init is %d, its parent %d, group %d, session %d", getpid(), getppid(), getpgrp(), getsid(0));
	fails(getpgid(999), ESRCH);
	/* An orphan goes to init, and init learns of its end. */
	int p[2];
	must(pipe(p));
	if (must(fork()) == 0) {
		if (fork() == 0) {
			while (getppid() != 1)
				usleep(1000);
			_exit(7);
		}
		_exit(0);
	}
	for (int i = 0; i < 2; i++) {
		int st;
		pid_t w = must(wait(&st));
		observe("reaped %d: %d", w, WEXITSTATUS(st));
	}
	/* Signals from inside do not reach an init without handlers; kill(-1) spares it. */
	pid_t c = must(fork());
	if (c == 0) {
		kill(1, SIGKILL);
		kill(1, SIGTERM);
		kill(1, SIGSTOP);
		_exit(kill(1, 0) == 0 ? 5 : 6);
	}
	observe("child shot at init: %s", reap(c));
	c = must(fork());
	if (c == 0)
		for (;;)
			pause();
	must(kill(-1, SIGTERM));
	observe("kill(-1): %s", reap(c));
	/* /proc of the namespace has its numbers. */
	must(unshare(CLONE_NEWNS));
	must(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL));
	mkdir("/tmp/proc", 0755);
	must(mount("proc", "/tmp/proc", "proc", 0, NULL));
	ssize_t n = must(readlink("/tmp/proc/self", b, sizeof b - 1));
	b[n] = 0;
	observe("/proc/self there: %s, /proc/1 %s", b, ok(access("/tmp/proc/1/stat", F_OK)));
	say("x");
	if (must(fork()) == 0) {
		setsid();
		for (;;)
			pause();
	}
	return 9;
}

int main(void)
{
	char b[64];
	must(pipe(from_inside));
	must(unshare(CLONE_NEWPID));
	observe("own number unchanged: %d", getpid() > 1);
	pid_t p = must(fork());
	if (p == 0)
		_exit(inside());
	must(read(from_inside[0], b, 1));
	observe("outside it has another number: %d", p > 1);
	observe("init: %s", reap(p));
	/* The namespace is dead: nobody can be born there. */
	fails(fork(), ENOMEM);
	return contract_end();
}
