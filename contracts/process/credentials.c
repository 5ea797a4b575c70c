/*
 * process/credentials: real, effective and saved ids, and what a process without privilege may not do.
 *
 * Catches: setuid that leaves the saved id (privilege can be regained), setresuid that checks the wrong ids, access(2) by effective
 * instead of real id.
 */
#include "contract.h"
#include <grp.h>

static void show(const char *what)
{
	uid_t r, e, s;
	gid_t rg, eg, sg;
	getresuid(&r, &e, &s);
	getresgid(&rg, &eg, &sg);
	observe("%s: uid %d %d %d gid %d %d %d", what, r, e, s, rg, eg, sg);
}

static int setgroups_(int n)
{
	gid_t groups[] = { 5, 7 };
	int r = setgroups(n, groups);
	gid_t back[8];
	int k = getgroups(8, back);
	observe("groups: %d, %d %d", k, back[0], back[1]);
	return r;
}

static void in_child(void (*f)(void))
{
	pid_t p = must(fork());
	if (p == 0) {
		f();
		_exit(0);
	}
	const char *end = reap(p);
	require(!strcmp(end, "exit 0"), "child: %s", end);
}

static void drop(void)
{
	must(setgroups_(2));
	must(setgid(100));
	must(setuid(1000));
	show("setuid(1000)");
	fails(setuid(0), EPERM);
	fails(seteuid(0), EPERM);
	fails(setgid(0), EPERM);
	fails(setresuid(0, -1, -1), EPERM);
	fails(setresuid(-1, -1, 1001), EPERM);
	must(setresuid(1000, 1000, 1000));
}

static void temporary(void)
{
	must(seteuid(1000));
	show("seteuid(1000)");
	fails(open("secret", O_RDONLY), EACCES);
	observe("access by the real id: %s", ok(access("secret", R_OK)));
	observe("faccessat by the effective id: %s", ok(faccessat(AT_FDCWD, "secret", R_OK, AT_EACCESS)));
	must(seteuid(0));
	show("seteuid(0)");
	observe("open: %s", ok(open("secret", O_RDONLY)));
}

static void swap(void)
{
	must(setresuid(1000, 1001, 1002));
	show("setresuid(1000, 1001, 1002)");
	must(setresuid(-1, 1002, -1));
	show("effective from saved");
	must(setreuid(-1, 1000));
	show("setreuid(-1, 1000)");
	fails(setreuid(5, -1), EPERM);
	pid_t p = must(fork());
	if (p == 0) {
		show("forked");
		_exit(0);
	}
	observe("%s", reap(p));
}

static void signals(void)
{
	must(setuid(1000));
	fails(kill(getppid(), 0), EPERM);
	fails(kill(1, SIGTERM), EPERM);
	observe("to itself: %s", result(kill(getpid(), 0)));
}

int main(void)
{
	int fd = must(open("secret", O_RDWR | O_CREAT, 0600));
	fchmod(fd, 0600);
	show("start");
	in_child(drop);
	in_child(temporary);
	in_child(swap);
	in_child(signals);
	show("end");
	return contract_end();
}
