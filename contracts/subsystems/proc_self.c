/*
 * subsystems/proc_self: what /proc says about processes agrees with what they know themselves.
 *
 * Catches: fields in the wrong place, states that are not true, ended processes still listed, numbers of threads wrong.
 */
#include "contract.h"

static char text[8192];

static const char *slurp(const char *path)
{
	int fd = open(path, O_RDONLY);
	if (fd < 0)
		return errno_name(errno);
	ssize_t n = 0, r;
	while ((r = read(fd, text + n, sizeof text - 1 - n)) > 0)
		n += r;
	text[n] = 0;
	close(fd);
	return text;
}

static void field(const char *name)
{
	char *p = strstr(slurp("/proc/self/status"), name), *e;
	if (p && (p == text || p[-1] == '\n') && (e = strchr(p, '\n'))) {
		*e = 0;
		observe("status %s", p);
	} else {
		observe("status has no %s", name);
	}
}

int main(void)
{
	char path[64];
	int pid, ppid, pgrp, session;
	char comm[32], state;
	slurp("/proc/self/stat");
	int n = sscanf(text, "%d (%31[^)]) %c %d %d %d", &pid, comm, &state, &ppid, &pgrp, &session);
	observe("stat: %d fields, name %s, state %c, pid %d parent %d group %d session %d", n, comm, state, pid == getpid(), ppid == getppid(), pgrp == getpgrp(), session == getsid(0));
	int fields = 1;
	for (char *c = strrchr(text, ')'); *c; c++)
		fields += *c == ' ';
	observe("fields in stat: %d", fields + 1);
	field("Name:");
	field("Threads:");
	field("Uid:");
	field("Gid:");
	field("SigIgn:");
	field("TracerPid:");
	slurp("/proc/self/cmdline");
	observe("cmdline: %s", text);
	ssize_t l = readlink("/proc/self", path, sizeof path - 1);
	path[l < 0 ? 0 : l] = 0;
	observe("/proc/self is the caller: %d", atoi(path) == getpid());
	char cwd[128], link[128] = { 0 };
	must(getcwd(cwd, sizeof cwd) ? 0 : -1);
	readlink("/proc/self/cwd", link, sizeof link - 1);
	observe("cwd: %d", !strcmp(cwd, link));
	readlink("/proc/self/root", link, sizeof link - 1);
	observe("root: %.1s", link);
	int up[2];
	char c;
	must(pipe(up));
	pid_t p = must(fork());
	if (p == 0) {
		read(up[0], &c, 1);
		_exit(3);
	}
	wait_until(asleep(p, p));
	snprintf(path, sizeof path, "/proc/%d/stat", p);
	sscanf(slurp(path), "%d (%31[^)]) %c %d", &pid, comm, &state, &ppid);
	observe("child asleep: state %c, its parent is me %d", state, ppid == getpid());
	write(up[1], "x", 1);
	siginfo_t si;
	waitid(P_PID, p, &si, WEXITED | WNOWAIT);
	sscanf(slurp(path), "%d (%31[^)]) %c", &pid, comm, &state);
	observe("child ended: state %c", state);
	reap(p);
	observe("child reaped: %s", ok(access(path, F_OK)));
	fails(open("/proc/999999/stat", O_RDONLY), ENOENT);
	fails(open("/proc/new", O_CREAT | O_WRONLY, 0600), ENOENT);
	static const char *const files[] = { "/proc/meminfo", "/proc/stat", "/proc/uptime", "/proc/loadavg", "/proc/version", "/proc/cpuinfo", "/proc/mounts", "/proc/filesystems", "/proc/self/mountinfo",
		"/proc/self/limits", "/proc/self/environ", "/proc/sys/kernel/hostname", "/proc/sys/kernel/pid_max", "/proc/self/auxv" };
	for (unsigned i = 0; i < sizeof files / sizeof *files; i++)
		observe("%s: %s", files[i], slurp(files[i]) == text && text[0] ? "there" : "missing");
	return contract_end();
}
