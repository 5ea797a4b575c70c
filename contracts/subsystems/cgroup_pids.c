/*
 * subsystems/cgroup_pids: the pids controller: how many tasks a group may have.
 *
 * Catches: a limit that counts processes only, one that the groups below escape, forks that fail with another error, zombies that do not count.
 *
 * Arch: arm64 (its Linux has nothing but version 2; where version 1 holds the controller there is no baseline)
 */
#include "contract.h"
#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>

static char group[64];

static char *path(const char *file)
{
	static char b[4][160];
	static int next;
	char *p = b[next++ & 3];
	snprintf(p, 160, "%s/%s", group, file);
	return p;
}

static const char *get(const char *file)
{
	static char b[4][512];
	static int next;
	char *p = b[next++ & 3];
	int fd = open(path(file), O_RDONLY);
	if (fd < 0)
		return errno_name(errno);
	ssize_t n = must(read(fd, p, 511));
	close(fd);
	p[n > 0 ? n - 1 : 0] = 0;
	return p;
}

static long put_at(const char *file, const char *text)
{
	int fd = open(file, O_WRONLY);
	if (fd < 0)
		return -1;
	ssize_t n = write(fd, text, strlen(text));
	int e = errno;
	close(fd);
	errno = e;
	return n < 0 ? -1 : 0;
}

static long put(const char *file, const char *text) { return put_at(path(file), text); }

static void *sleeper(void *x)
{
	char c;
	read(*(int *)x, &c, 1);
	return NULL;
}

int main(void)
{
	must(unshare(CLONE_NEWNS));
	must(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL));
	must(mkdir("cg", 0755));
	must(mount("none", "cg", "cgroup2", 0, NULL));
	must(put_at("cg/cgroup.subtree_control", "+pids"));
	fails(put_at("cg/cgroup.subtree_control", "+nonsense"), EINVAL);
	snprintf(group, sizeof group, "cg/ringo-contract-%llx", clock_ns(CLOCK_MONOTONIC));
	must(mkdir(group, 0755));
	observe("new: max %s, current %s, events %s", get("pids.max"), get("pids.current"), get("pids.events"));
	fails(put("pids.max", "-1"), EINVAL);
	fails(put("pids.max", "many"), EINVAL);
	int gate[2], bye[2];
	must(pipe(gate));
	must(pipe(bye));
	pid_t p = must(fork());
	if (p == 0) {
		must(put("cgroup.procs", "0"));
		observe("one process: current %s", get("pids.current"));
		must(put("pids.max", "3"));
		observe("max %s", get("pids.max"));
		pid_t a = must(fork());
		if (a == 0) {
			char c;
			_exit(read(bye[0], &c, 1) == 1 ? 0 : 1);
		}
		pthread_t t;
		int e = pthread_create(&t, NULL, sleeper, &gate[0]);
		observe("with a child and a thread: %d, current %s", e, get("pids.current"));
		fails(fork(), EAGAIN);
		pthread_t u;
		observe("a thread more: %s", errno_name(pthread_create(&u, NULL, sleeper, &gate[0])));
		observe("events %s", get("pids.events"));
		must(write(bye[1], "g", 1));
		siginfo_t si;
		must(waitid(P_PID, a, &si, WEXITED | WNOWAIT));
		observe("a zombie counts: %s", get("pids.current"));
		reap(a);
		must(write(gate[1], "g", 1));
		pthread_join(t, NULL);
		wait_until(!strcmp(get("pids.current"), "1"));
		observe("alone again: %s", get("pids.current"));
		/* Below the limit of the group above. */
		must(put("pids.max", "1"));
		fails(fork(), EAGAIN);
		must(put("pids.max", "max"));
		observe("no limit: %s", ok(a = fork()));
		if (a == 0)
			_exit(0);
		reap(a);
		fails(put("cgroup.subtree_control", "+pids"), EBUSY);
		_exit(0);
	}
	observe("%s", reap(p));
	must(put("cgroup.subtree_control", "+pids"));
	must(mkdir(path("below"), 0755));
	observe("below: max %s, controllers %s", get("below/pids.max"), get("below/cgroup.controllers"));
	must(put("pids.max", "1"));
	p = must(fork());
	if (p == 0) {
		fails(put("cgroup.procs", "0"), EBUSY);
		must(put("below/cgroup.procs", "0"));
		observe("current here %s, above %s", get("below/pids.current"), get("pids.current"));
		fails(fork(), EAGAIN);
		_exit(0);
	}
	observe("%s", reap(p));
	must(rmdir(path("below")));
	must(put("cgroup.subtree_control", "-pids"));
	must(mkdir(path("below"), 0755));
	observe("without the controller: %s", get("below/pids.max"));
	fails(put("below/cgroup.subtree_control", "+pids"), ENOENT);
	must(rmdir(path("below")));
	must(rmdir(group));
	return contract_end();
}
