/*
 * process/prctl_name: a task's name and the switches of prctl that programs use.
 *
 * Catches: names longer than 15 bytes that spill, names that threads share, no_new_privs that can be taken back.
 */
#include "contract.h"
#include <sys/prctl.h>

static void comm(const char *what)
{
	char name[32] = { 0 }, file[32] = { 0 };
	must(prctl(PR_GET_NAME, name));
	int fd = must(open("/proc/self/comm", O_RDONLY));
	ssize_t n = read(fd, file, sizeof file - 1);
	close(fd);
	if (n > 0)
		file[n - 1] = 0;
	observe("%s: prctl \"%s\", /proc/self/comm \"%s\"", what, name, file);
}

int main(void)
{
	must(prctl(PR_SET_NAME, "short"));
	comm("set");
	must(prctl(PR_SET_NAME, "a name longer than fifteen"));
	comm("cut");
	pid_t p = must(fork());
	if (p == 0) {
		comm("child");
		prctl(PR_SET_NAME, "child");
		_exit(0);
	}
	reap(p);
	comm("parent");
	observe("dumpable: %s", result(prctl(PR_GET_DUMPABLE)));
	must(prctl(PR_SET_DUMPABLE, 0));
	observe("dumpable: %s", result(prctl(PR_GET_DUMPABLE)));
	fails(prctl(PR_SET_DUMPABLE, 7), EINVAL);
	observe("no_new_privs: %s", result(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)));
	must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	observe("no_new_privs: %s", result(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)));
	fails(prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0), EINVAL);
	int sig = -1;
	must(prctl(PR_SET_PDEATHSIG, SIGTERM));
	must(prctl(PR_GET_PDEATHSIG, &sig));
	observe("pdeathsig: %d", sig);
	fails(prctl(PR_SET_PDEATHSIG, 99), EINVAL);
	p = must(fork());
	if (p == 0) {
		prctl(PR_GET_PDEATHSIG, &sig);
		_exit(sig);
	}
	observe("pdeathsig of a child: %s", reap(p));
	fails(prctl(424242), EINVAL);
	return contract_end();
}
