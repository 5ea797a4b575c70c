/*
 * The driver: the first program of a contract run, the same on Linux and in Ringo, so that both give
 * every contract the same surroundings.
 *
 *   driver {-g | -i ROOT BINARIES} [-s] {-t MILLISECONDS NAME PATH}...
 *
 * Each program runs in a session of its own, in an empty working folder, with standard input from
 * /dev/null, standard output and error through pipes, a fixed environment, fixed limits, default
 * signal dispositions, and nothing but these descriptors. When its first process ends or its time
 * is over, everything it left behind is killed and waited for.
 *
 * -g says that this is a guest of its own, where every process may be killed.
 * -i makes such surroundings on Linux: new PID, mount and IPC namespaces whose root is ROOT (read-only),
 * with /dev, /proc, /sys and /tmp of their own, and BINARIES at /contracts. Nothing in there can reach the host's files.
 *
 * -s traces the programs' system calls (Linux only: in Ringo the kernel does it).
 *
 * Standard output is a sequence of frames: "KIND LENGTH\n" and LENGTH bytes.
 *   begin  name        out, err  bytes the program wrote
 *   sys    "PID NUMBER ARGUMENT... RESULT": a system call that has ended, all but the first and last in hexadecimal
 *   end    "exit N NS", "signal N NS" or "timeout 0 NS": how it ended, after how many nanoseconds
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* What one program may write before the rest is dropped: it must not fill the runner's memory. */
enum { OUTPUT_LIMIT = 4 << 20 };

static void die(const char *what)
{
	fprintf(stderr, "driver: %s: %s\n", what, strerror(errno));
	exit(120);
}

static void write_all(const char *b, size_t n)
{
	while (n > 0) {
		ssize_t w = write(1, b, n);
		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0)
			exit(121); /* nobody listens any more */
		b += w, n -= w;
	}
}

static void frame(const char *kind, const char *b, size_t n)
{
	char head[64];
	write_all(head, snprintf(head, sizeof head, "%s %zu\n", kind, n));
	write_all(b, n);
}

static long long now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void must_mount(const char *src, const char *dst, const char *type, unsigned long flags)
{
	if (mount(src, dst, type, flags, NULL) < 0)
		die(dst);
}

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		die(path);
	close(fd);
}

/* devices makes ROOT/dev: the few nodes that every Linux has, each the host's own. */
static void devices(const char *root)
{
	static const char *const nodes[] = { "null", "zero", "full", "random", "urandom", "tty" };
	static const char *const links[][2] = { { "/proc/self/fd", "fd" }, { "fd/0", "stdin" }, { "fd/1", "stdout" }, { "fd/2", "stderr" }, { "pts/ptmx", "ptmx" } };
	char p[4096], host[64];
	snprintf(p, sizeof p, "%s/dev", root);
	must_mount("dev", p, "tmpfs", 0);
	for (unsigned i = 0; i < sizeof nodes / sizeof *nodes; i++) {
		snprintf(p, sizeof p, "%s/dev/%s", root, nodes[i]);
		snprintf(host, sizeof host, "/dev/%s", nodes[i]);
		int fd = open(p, O_CREAT | O_WRONLY | O_CLOEXEC, 0666);
		if (fd < 0)
			die(p);
		close(fd);
		must_mount(host, p, NULL, MS_BIND);
	}
	for (unsigned i = 0; i < sizeof links / sizeof *links; i++) {
		snprintf(p, sizeof p, "%s/dev/%s", root, links[i][1]);
		if (symlink(links[i][0], p) < 0)
			die(p);
	}
	snprintf(p, sizeof p, "%s/dev/shm", root);
	mkdir(p, 01777);
	must_mount("shm", p, "tmpfs", 0);
	snprintf(p, sizeof p, "%s/dev/pts", root);
	mkdir(p, 0755);
	if (mount("devpts", p, "devpts", 0, "newinstance,ptmxmode=0666,mode=0620") < 0)
		die(p);
}

/* isolate returns in process 1 of new namespaces; the caller's process waits for that one. */
static void isolate(const char *root, const char *binaries)
{
	int spaces = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET;
	uid_t uid = getuid();
	gid_t gid = getgid();
	if (unshare(spaces) < 0) {
		char map[64];
		if (errno != EPERM || unshare(spaces | CLONE_NEWUSER) < 0)
			die("unshare: namespaces are needed for a clean baseline");
		put("/proc/self/setgroups", "deny");
		snprintf(map, sizeof map, "0 %d 1", uid);
		put("/proc/self/uid_map", map);
		snprintf(map, sizeof map, "0 %d 1", gid);
		put("/proc/self/gid_map", map);
	}
	pid_t child = fork();
	if (child < 0)
		die("fork");
	if (child > 0) {
		int st;
		while (waitpid(child, &st, 0) < 0 && errno == EINTR)
			;
		exit(WIFEXITED(st) ? WEXITSTATUS(st) : 122);
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	char p[4096];
	must_mount("none", "/", NULL, MS_REC | MS_PRIVATE);
	must_mount(root, root, NULL, MS_BIND);
	devices(root);
	snprintf(p, sizeof p, "%s/sys", root);
	must_mount("sysfs", p, "sysfs", MS_RDONLY);
	snprintf(p, sizeof p, "%s/contracts", root);
	must_mount(binaries, p, NULL, MS_BIND);
	snprintf(p, sizeof p, "%s/proc", root);
	must_mount("proc", p, "proc", 0);
	snprintf(p, sizeof p, "%s/tmp", root);
	must_mount("tmpfs", p, "tmpfs", 0);
	must_mount("none", root, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY);
	if (chdir(root) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		die("pivot_root");
	sethostname("ringo", 5);
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (s < 0 || ioctl(s, SIOCSIFFLAGS, &lo) < 0)
		die("loopback");
	close(s);
}

static void limit(int which, rlim_t soft, rlim_t hard)
{
	struct rlimit r = { soft, hard };
	setrlimit(which, &r); /* best effort: a hard limit may be lower already */
}

static int tracing;

/* A task under trace: what it called and has not come back from. */
static struct traced {
	pid_t pid;
	int running; /* the contract, not the driver's copy before execve */
	struct __ptrace_syscall_info entry;
} traced[256];

static struct traced *task_of(pid_t pid)
{
	struct traced *free = NULL;
	for (unsigned i = 0; i < sizeof traced / sizeof *traced; i++) {
		if (traced[i].pid == pid)
			return &traced[i];
		if (!traced[i].pid && !free)
			free = &traced[i];
	}
	if (!free)
		die("too many tasks to trace");
	free->pid = pid;
	return free;
}

static void report_call(struct traced *t, int64_t value)
{
	char b[256];
	const struct __ptrace_syscall_info *e = &t->entry;
	if (!t->running || e->op != PTRACE_SYSCALL_INFO_ENTRY)
		return;
	int n = snprintf(b, sizeof b, "%d %llu %llx %llx %llx %llx %llx %llx %lld", t->pid, (unsigned long long)e->entry.nr, (unsigned long long)e->entry.args[0],
		(unsigned long long)e->entry.args[1], (unsigned long long)e->entry.args[2], (unsigned long long)e->entry.args[3], (unsigned long long)e->entry.args[4],
		(unsigned long long)e->entry.args[5], (long long)value);
	frame("sys", b, n);
}

/* on_stop lets a traced task go on, whatever it stopped for. */
static void on_stop(pid_t pid, int st)
{
	struct traced *t = task_of(pid);
	int sig = WSTOPSIG(st), event = st >> 16;
	struct __ptrace_syscall_info info;

	if (sig == (SIGTRAP | 0x80)) {
		if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof info, &info) > 0) {
			if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
				t->entry = info;
				if (info.entry.nr == SYS_exit || info.entry.nr == SYS_exit_group)
					report_call(t, 0);
			} else if (info.op == PTRACE_SYSCALL_INFO_EXIT) {
				report_call(t, info.exit.rval);
				t->entry.op = PTRACE_SYSCALL_INFO_NONE;
			}
		}
		sig = 0;
	} else if (event == PTRACE_EVENT_EXEC) {
		if (!t->running)
			t->entry.op = PTRACE_SYSCALL_INFO_NONE; /* the driver's execve is not the program's */
		t->running = 1;
		sig = 0;
	} else if (event == PTRACE_EVENT_FORK || event == PTRACE_EVENT_VFORK || event == PTRACE_EVENT_CLONE) {
		unsigned long child;
		if (ptrace(PTRACE_GETEVENTMSG, pid, 0, &child) == 0)
			task_of(child)->running = t->running;
		sig = 0;
	} else if (event == PTRACE_EVENT_STOP) {
		if (sig != SIGTRAP) { /* job control stops it */
			ptrace(PTRACE_LISTEN, pid, 0, 0);
			return;
		}
		sig = 0;
	}
	ptrace(PTRACE_SYSCALL, pid, 0, (long)sig);
}

/* start runs the program in the child: never returns. */
static void start(const char *name, const char *path, int out, int err, int go)
{
	char c;
	if (tracing)
		read(go, &c, 1); /* until the driver traces us */
	static char *const env[] = { "PATH=/bin:/sbin:/usr/bin:/usr/sbin", "HOME=/", "USER=root", "LANG=C", "TZ=UTC0", NULL };
	char *argv[] = { (char *)name, NULL };
	sigset_t none;
	int null = open("/dev/null", O_RDONLY);
	setsid();
	if (dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
		die("dup2");
	if (syscall(SYS_close_range, 3, ~0U, 0) < 0)
		for (int fd = 3; fd < 1024; fd++)
			close(fd);
	/* Not signal(): the C library keeps 32 and 33 to itself, and whoever started us may have them ignored. */
	static const char dfl[64];
	for (int s = 1; s < 65; s++)
		syscall(SYS_rt_sigaction, s, dfl, NULL, 8);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	umask(022);
	limit(RLIMIT_NOFILE, 1024, 4096);
	limit(RLIMIT_STACK, 8 << 20, RLIM_INFINITY);
	limit(RLIMIT_CORE, 0, RLIM_INFINITY);
	execve(path, argv, env);
	fprintf(stderr, "driver: %s: %s\n", path, strerror(errno));
	_exit(127);
}

static size_t sent;

/* relay passes on what is in a pipe; 0 at its end. */
static int relay(int fd, const char *kind)
{
	static char b[65536];
	ssize_t n = read(fd, b, sizeof b);
	if (n > 0 && sent < OUTPUT_LIMIT) {
		sent += n;
		frame(kind, b, n);
	}
	return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

static void on_child(int s) { (void)s; }

/* run runs one program to its end. SIGCHLD is blocked everywhere but in ppoll. */
static void run(const char *name, const char *path, long long limit_ns)
{
	static int number;
	int out[2], err[2], go[2], status = 0, ended = 0, timeout = 0;
	char folder[32], how[64];
	sigset_t open_mask;

	sigprocmask(SIG_SETMASK, NULL, &open_mask);
	sigdelset(&open_mask, SIGCHLD);
	sent = 0;
	frame("begin", name, strlen(name));
	snprintf(folder, sizeof folder, "/tmp/%d", ++number);
	if (mkdir(folder, 0755) < 0 || chdir(folder) < 0)
		die(folder);
	if (pipe2(out, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0 || pipe2(go, O_CLOEXEC) < 0)
		die("pipe2");
	long long begin = now(), deadline = begin + limit_ns;
	pid_t child = fork();
	if (child < 0)
		die("fork");
	if (child == 0)
		start(name, path, out[1], err[1], go[0]);
	close(out[1]), close(err[1]), close(go[0]);
	if (tracing) {
		long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL;
		memset(traced, 0, sizeof traced);
		if (ptrace(PTRACE_SEIZE, child, 0, options) < 0 || ptrace(PTRACE_INTERRUPT, child, 0, 0) < 0)
			die("tracing");
		write(go[1], "g", 1);
	}
	close(go[1]);
	struct pollfd p[2] = { { .fd = out[0], .events = POLLIN }, { .fd = err[0], .events = POLLIN } };
	while (!ended && !timeout) {
		long long left = deadline - now();
		if (left < 0)
			left = 0;
		struct timespec t = { left / 1000000000, left % 1000000000 };
		int n = ppoll(p, 2, &t, &open_mask);
		if (n == 0)
			timeout = 1;
		for (int i = 0; i < 2 && n > 0; i++)
			if (p[i].revents && !relay(p[i].fd, i ? "err" : "out"))
				p[i].fd = -1;
		for (;;) {
			int st;
			pid_t w = waitpid(-1, &st, WNOHANG | (tracing ? __WALL : 0));
			if (w <= 0)
				break;
			if (WIFSTOPPED(st))
				on_stop(w, st);
			else if (w == child)
				ended = 1, status = st;
		}
	}
	long long took = now() - begin;
	/* Nobody may outlive the test. The caller is not in -1. */
	kill(-1, SIGKILL);
	while (waitpid(-1, NULL, tracing ? __WALL : 0) > 0 || errno == EINTR)
		;
	for (int i = 0; i < 2; i++) {
		struct pollfd one = { .fd = p[i].fd, .events = POLLIN };
		while (one.fd >= 0 && poll(&one, 1, 2000) > 0 && relay(one.fd, i ? "err" : "out"))
			;
	}
	close(out[0]), close(err[0]);
	int code = timeout ? 0 : WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status);
	snprintf(how, sizeof how, "%s %d %lld", timeout ? "timeout" : WIFEXITED(status) ? "exit" : "signal", code, took);
	frame("end", how, strlen(how));
}

int main(int argc, char **argv)
{
	sigset_t blocked;
	int i = 1, guest = 0;

	if (i < argc && !strcmp(argv[i], "-g")) {
		guest = 1, i++;
	} else if (i + 2 < argc && !strcmp(argv[i], "-i")) {
		isolate(argv[i + 1], argv[i + 2]);
		i += 3;
	} else {
		/* It would kill every process of the user. */
		fprintf(stderr, "driver: neither -g nor -i\n");
		return 2;
	}
	mkdir("/tmp", 01777);
	if (guest)
		must_mount("tmpfs", "/tmp", "tmpfs", 0); /* as on Linux */
	signal(SIGCHLD, on_child);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGCHLD);
	sigprocmask(SIG_BLOCK, &blocked, NULL);
	if (i < argc && !strcmp(argv[i], "-s"))
		tracing = 1, i++;
	for (; i + 3 < argc && !strcmp(argv[i], "-t"); i += 4)
		run(argv[i + 2], argv[i + 3], atoll(argv[i + 1]) * 1000000);
	if (i != argc) {
		fprintf(stderr, "driver: cannot understand %s\n", argv[i]);
		return 2;
	}
	return 0;
}
