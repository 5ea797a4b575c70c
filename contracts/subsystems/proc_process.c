/*
 * subsystems/proc_process: what /proc/PID says of a process is true.
 *
 * Catches: fields in the wrong place, sizes of another process, threads that are missing, limits and masks that are not those in force, files that a
 * stranger may read.
 */
#include "contract.h"
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/resource.h>

static char text[65536];

static const char *slurp(const char *path)
{
	int fd = open(path, O_RDONLY);
	if (fd < 0)
		return errno_name(errno);
	ssize_t n = 0, r;
	while ((r = read(fd, text + n, sizeof text - 1 - n)) > 0)
		n += r;
	close(fd);
	text[n] = 0;
	return text;
}

/* field is the value behind a name in a file of lines. */
static const char *field(const char *path, const char *name)
{
	static char b[4][256];
	static int next;
	char *v = b[next++ & 3], *p, want[64];
	slurp(path);
	snprintf(want, sizeof want, "%s:", name);
	p = strncmp(text, want, strlen(want)) ? strstr(text, want) : text;
	if (!p)
		return "missing";
	p += strlen(want);
	p += strspn(p, " \t");
	snprintf(v, 256, "%.*s", (int)strcspn(p, "\n"), p);
	return v;
}

static void *idle(void *x)
{
	char c;
	read(*(int *)x, &c, 1);
	return NULL;
}

int main(void)
{
	int gate[2];
	long v[60];
	must(pipe(gate));
	must(prctl(PR_SET_NAME, "a (name) b"));
	sigset_t s;
	sigemptyset(&s);
	sigaddset(&s, SIGUSR1);
	sigaddset(&s, SIGRTMIN);
	sigprocmask(SIG_BLOCK, &s, NULL);
	pthread_t t;
	pthread_create(&t, NULL, idle, gate);
	/* stat */
	slurp("/proc/self/stat");
	char *p = strrchr(text, ')'), state;
	int n = 0, fields = 0;
	require(p && sscanf(p + 2, "%c%n", &state, &n) == 1, "a state");
	for (p += 2 + n; sscanf(p, "%ld%n", &v[fields], &n) == 1; p += n)
		fields++;
	observe("stat: %d fields, state %c, name %d", fields + 3, state, strstr(text, "(a (name) b)") != NULL);
	observe("parent %d, group %d, session %d, threads %ld", v[0] == getppid(), v[1] == getpgrp(), v[2] == getsid(0), v[16]);
	struct rlimit r;
	getrlimit(RLIMIT_RSS, &r);
	observe("rss limit %d, exit signal %ld", (rlim_t)v[21] == r.rlim_cur, v[34]);
	long pages = sysconf(_SC_PAGESIZE), size, rss;
	sscanf(slurp("/proc/self/statm"), "%ld %ld", &size, &rss);
	observe("sizes: statm and stat agree %d, resident within %d", labs(size - v[19] / pages) < 64, rss > 0 && rss <= size);
	/* Memory that is mapped and touched is counted. */
	long before = atol(field("/proc/self/status", "VmSize")), before_rss = atol(field("/proc/self/status", "VmRSS"));
	char *m = mmap(NULL, 8 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset(m, 1, 4 << 20);
	observe("8 MiB mapped: %d, 4 MiB touched: %d", atol(field("/proc/self/status", "VmSize")) - before >= 8192, atol(field("/proc/self/status", "VmRSS")) - before_rss >= 4000);
	/* status */
	observe("Name '%s', Threads %s, Umask %s", field("/proc/self/status", "Name"), field("/proc/self/status", "Threads"), field("/proc/self/status", "Umask"));
	observe("Tgid %d, Pid %d, PPid %d", atoi(field("/proc/self/status", "Tgid")) == getpid(), atoi(field("/proc/self/status", "Pid")) == getpid(), atoi(field("/proc/self/status", "PPid")) == getppid());
	observe("Uid %s", field("/proc/self/status", "Uid"));
	observe("NoNewPrivs %s, Seccomp %s", field("/proc/self/status", "NoNewPrivs"), field("/proc/self/status", "Seccomp"));
	signal(SIGUSR2, SIG_IGN);
	raise(SIGUSR1);
	kill(getpid(), SIGUSR1);
	observe("SigBlk has USR1 %d, SigPnd %s, ShdPnd %s", (int)(strtoull(field("/proc/self/status", "SigBlk"), NULL, 16) >> (SIGUSR1 - 1) & 1), field("/proc/self/status", "SigPnd"), field("/proc/self/status", "ShdPnd"));
	observe("SigIgn %s", field("/proc/self/status", "SigIgn"));
	/* limits */
	r = (struct rlimit){ 123, 456 };
	must(setrlimit(RLIMIT_CORE, &r));
	slurp("/proc/self/limits");
	p = strstr(text, "Max core file size");
	observe("%.*s", (int)strcspn(p, "\n"), p);
	observe("%.*s", (int)strcspn(text, "\n"), text);
	/* Links, descriptors. */
	char link[256], path[64];
	int fd = must(open("file", O_CREAT | O_RDWR | O_APPEND | O_CLOEXEC, 0600));
	must(write(fd, "12345", 5));
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	struct stat st, st2;
	must(lstat(path, &st));
	observe("fd link: mode %o", st.st_mode);
	must(stat(path, &st)), must(fstat(fd, &st2));
	observe("leads to the file %d", st.st_ino == st2.st_ino);
	snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
	observe("pos %s, flags %s", field(path, "pos"), field(path, "flags"));
	must(unlink("file"));
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	n = must(readlink(path, link, sizeof link - 1));
	link[n] = 0;
	observe("unlinked: '%s'", strrchr(link, '/'));
	/* Threads. */
	observe("task of its own thread: %s", strcmp(slurp("/proc/thread-self/comm"), "a (name) b\n") ? text : "same name");
	snprintf(path, sizeof path, "/proc/%d/task/%d/status", getpid(), getpid());
	observe("%s", field(path, "Name"));
	fails(access("/proc/self/task/1", F_OK), ENOENT);
	fails(open("/proc/self/nothing", O_RDONLY), ENOENT);
	int wr = must(open("/proc/self/stat", O_WRONLY));
	fails(write(wr, "x", 1), EINVAL);
	fails(open("/proc/sys/kernel/ostype", O_WRONLY), EACCES);
	fails(mkdir("/proc/self/x", 0755), ENOENT);
	fails(unlink("/proc/self/stat"), EPERM);
	/* The name by writing, oom_score_adj. */
	fd = must(open("/proc/self/comm", O_WRONLY));
	must(write(fd, "a name that is too long", 23));
	close(fd);
	observe("comm: %s", strtok((char *)slurp("/proc/self/comm"), "\n"));
	fd = must(open("/proc/self/oom_score_adj", O_RDWR));
	must(write(fd, "300", 3));
	fails(write(fd, "2000", 4), EINVAL);
	observe("oom_score_adj %s", strtok((char *)slurp("/proc/self/oom_score_adj"), "\n"));
	/* A stranger's. */
	pid_t c = must(fork());
	if (c == 0) {
		char other[64];
		must(setuid(1000));
		snprintf(other, sizeof other, "/proc/%d/environ", getppid());
		fails(open(other, O_RDONLY), EACCES);
		snprintf(other, sizeof other, "/proc/%d/exe", getppid());
		fails(readlink(other, link, sizeof link), EACCES);
		snprintf(other, sizeof other, "/proc/%d/fd", getppid());
		fails(open(other, O_RDONLY), EACCES);
		snprintf(other, sizeof other, "/proc/%d/status", getppid());
		observe("status of another: %s", ok(open(other, O_RDONLY)));
		_exit(0);
	}
	reap(c);
	/* A zombie. */
	c = must(fork());
	if (c == 0)
		_exit(3);
	siginfo_t si;
	must(waitid(P_PID, c, &si, WEXITED | WNOWAIT));
	snprintf(path, sizeof path, "/proc/%d/status", c);
	observe("zombie: %s", field(path, "State"));
	snprintf(path, sizeof path, "/proc/%d/cmdline", c);
	observe("cmdline: '%s'", slurp(path));
	snprintf(path, sizeof path, "/proc/%d/exe", c);
	fails(readlink(path, link, sizeof link), ENOENT);
	snprintf(path, sizeof path, "/proc/%d", c);
	fd = must(open(path, O_RDONLY | O_DIRECTORY));
	reap(c);
	fails(open(path, O_RDONLY), ENOENT);
	observe("below an old descriptor: %d", openat(fd, "stat", O_RDONLY) == -1);
	must(write(gate[1], "x", 1));
	pthread_join(t, NULL);
	return contract_end();
}
