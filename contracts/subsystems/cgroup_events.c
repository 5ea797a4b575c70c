/*
 * subsystems/cgroup_events: a control group: membership, populated events, freeze, kill, clone into it.
 *
 * Catches: groups removed with processes in them, events that nobody is told, frozen processes that run, processes that survive cgroup.kill, children
 * outside of their parent's group.
 */
#include "contract.h"
#include <linux/sched.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sched.h>

static char group[64];

static const char *path(const char *file)
{
	static char b[4][128];
	static int next;
	char *p = b[next++ & 3];
	snprintf(p, 128, "%s/%s", group, file);
	return p;
}

static const char *get(const char *file)
{
	static char b[4][512];
	static int next;
	char *p = b[next++ & 3];
	int fd = must(open(path(file), O_RDONLY));
	ssize_t n = must(read(fd, p, 511));
	close(fd);
	while (n > 0 && p[n - 1] == '\n')
		n--;
	p[n] = 0;
	for (char *q = p; *q; q++)
		if (*q == '\n')
			*q = ' ';
	return p;
}

static long put(const char *file, const char *text)
{
	int fd = open(path(file), O_WRONLY);
	if (fd < 0)
		return -1;
	ssize_t n = write(fd, text, strlen(text));
	int e = errno;
	close(fd);
	errno = e;
	return n < 0 ? -1 : 0;
}

static const char *events(void)
{
	static char b[64];
	const char *e = get("cgroup.events");
	snprintf(b, sizeof b, "populated %d frozen %d", !!strstr(e, "populated 1"), !!strstr(e, "frozen 1"));
	return b;
}

int main(void)
{
	char text[64];
	must(unshare(CLONE_NEWNS));
	must(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL));
	must(mkdir("cg", 0755));
	must(mount("none", "cg", "cgroup2", 0, NULL));
	snprintf(group, sizeof group, "cg/ringo-contract-%llx", clock_ns(CLOCK_MONOTONIC));
	must(mkdir(group, 0755));
	observe("new: %s, type %s, procs '%s', freeze %s", events(), get("cgroup.type"), get("cgroup.procs"), get("cgroup.freeze"));
	observe("limits %s %s", get("cgroup.max.depth"), get("cgroup.max.descendants"));
	fails(mkdir(group, 0755), EEXIST);
	fails(open(path("file"), O_CREAT | O_WRONLY, 0644), EACCES);
	fails(unlink(path("cgroup.procs")), EPERM);
	int watch = must(inotify_init1(IN_NONBLOCK));
	must(inotify_add_watch(watch, path("cgroup.events"), IN_MODIFY));
	int ev = must(open(path("cgroup.events"), O_RDONLY));
	must(read(ev, text, sizeof text));
	struct pollfd pf = { ev, POLLPRI, 0 };
	observe("quiet: %s", result(poll(&pf, 1, 0)));
	int gate[2];
	must(pipe(gate));
	pid_t p = must(fork());
	if (p == 0) {
		char c;
		pid_t q = must(fork());
		must(read(gate[0], &c, 1));
		if (q)
			reap(q);
		_exit(0);
	}
	snprintf(text, sizeof text, "%d", p);
	must(put("cgroup.procs", text));
	observe("told: %s", result(poll(&pf, 1, 10000)));
	wait_until(read(watch, text, sizeof text) >= 16); /* inotify hears of it in its own time */
	observe("with a process: %s", events());
	fails(rmdir(group), EBUSY);
	pid_t c = must(fork());
	if (c == 0) {
		must(put("cgroup.procs", "0"));
		pid_t in = must(fork());
		if (in == 0) {
			char line[256];
			int fd = must(open("/proc/self/cgroup", O_RDONLY));
			ssize_t n = must(read(fd, line, sizeof line - 1));
			line[n] = 0;
			char *l = strstr(line, "0::/");
			observe("a child's /proc/self/cgroup: %d", l && strstr(l, strrchr(group, '/')));
			_exit(0);
		}
		_exit(reap(in)[0] == 'e' ? 0 : 1);
	}
	observe("moved itself: %s", reap(c));
	fails(put("cgroup.procs", "nonsense"), EINVAL);
	fails(put("cgroup.procs", "99999999"), ESRCH);
	/* Below it. */
	must(mkdir(path("below"), 0755));
	observe("stat: %d below", strstr(get("cgroup.stat"), "nr_descendants 1") ? 1 : 0);
	fails(rmdir(group), EBUSY);
	must(rmdir(path("below")));
	fails(put("cgroup.max.descendants", "-1"), ERANGE);
	must(put("cgroup.max.descendants", "0"));
	fails(mkdir(path("below"), 0755), EAGAIN);
	/* Frozen processes do nothing, not even what they were told before. */
	must(put("cgroup.freeze", "1"));
	wait_until(strstr(events(), "frozen 1"));
	must(write(gate[1], "gg", 2));
	usleep(20000);
	int st;
	observe("frozen: %s, ended %d", events(), waitpid(p, &st, WNOHANG) != 0);
	must(put("cgroup.freeze", "0"));
	observe("thawed: %s", reap(p));
	wait_until(strstr(events(), "populated 0"));
	observe("after: %s", events());
	fails(put("cgroup.freeze", "2"), ERANGE);
	fails(put("cgroup.kill", "0"), ERANGE);
	int kill_file = must(open(path("cgroup.kill"), O_RDONLY));
	fails(read(kill_file, text, 8), EINVAL);
	/* Clone into it, and kill all. */
	int dir = must(open(group, O_RDONLY | O_DIRECTORY));
	struct clone_args a = { .flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = dir };
	pid_t in[3];
	for (int i = 0; i < 3; i++)
		if ((in[i] = must(syscall(SYS_clone3, &a, sizeof a))) == 0)
			for (;;)
				pause();
	observe("cloned into it: %s", events());
	must(put("cgroup.freeze", "1"));
	must(put("cgroup.kill", "1"));
	observe("killed, frozen though: %s, %s, %s", reap(in[0]), reap(in[1]), reap(in[2]));
	wait_until(strstr(events(), "populated 0"));
	a.cgroup = gate[0];
	fails(syscall(SYS_clone3, &a, sizeof a), EBADF);
	pf.revents = 0;
	must(rmdir(group));
	fails(open(path("cgroup.procs"), O_RDONLY), ENOENT);
	fails(read(ev, text, sizeof text), ENODEV);
	a.cgroup = dir;
	fails(syscall(SYS_clone3, &a, sizeof a), ENOENT);
	return contract_end();
}
