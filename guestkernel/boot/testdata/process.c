// Processes: fork, vfork, posix_spawn, exec, wait in its forms, process groups, sessions, limits, identity.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/times.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
extern char **environ;
static int child_fn(void *arg) { *(int *)arg = 77; return 5; }

int main(int argc, char **argv) {
	int st; pid_t p;
	if (argc > 1 && !strcmp(argv[1], "args")) { for (int i = 0; i < argc; i++) printf("[%s]", argv[i]); printf(" %s\n", getenv("X") ? getenv("X") : "-"); return 11; }
	setvbuf(stdout, 0, _IONBF, 0);
	volatile int shared = 1; p = fork(); if (!p) { shared = 2; _exit(shared + 1); }
	waitpid(p, &st, 0); printf("fork: %d parent keeps %d\n", WEXITSTATUS(st), shared);
	p = vfork(); if (!p) { shared = 9; _exit(4); } waitpid(p, &st, 0); printf("vfork: %d shared %d\n", WEXITSTATUS(st), shared);
	char *av[] = {argv[0], "args", "a b", "", NULL}, *ev[] = {"X=env", NULL};
	posix_spawn(&p, argv[0], 0, 0, av, ev); waitpid(p, &st, 0); printf("spawn: %d\n", WEXITSTATUS(st));
	printf("spawn missing: %d\n", posix_spawn(&p, "/nonexistent", 0, 0, av, ev) == ENOENT);
	{ errno = 0; long r_ = (long)(execv("/nonexistent", av)); printf("exec missing: %d %d\n", (int)r_, errno == ENOENT); }
	{ errno = 0; long r_ = (long)(execv("/", av)); printf("exec directory: %d %d\n", (int)r_, errno == EACCES); }
	char path[] = "/tmp/xXXXXXX"; int fd = mkstemp(path); write(fd, "garbage", 7); fchmod(fd, 0755); close(fd);
	{ errno = 0; long r_ = (long)(execv(path, av)); printf("exec garbage: %d %d\n", (int)r_, errno == ENOEXEC); }
	truncate(path, 0); { errno = 0; long r_ = (long)(execv(path, av)); printf("exec empty: %d %d\n", (int)r_, errno == ENOEXEC); }
	fd = open(path, O_WRONLY | O_TRUNC); write(fd, "#!/none/such\n", 13); close(fd); { errno = 0; long r_ = (long)(execv(path, av)); printf("exec script without interpreter: %d %d\n", (int)r_, errno == ENOENT); }
	unlink(path);
	fd = open(argv[0], O_RDONLY); fcntl(fd, F_SETFD, FD_CLOEXEC); int keep = open(argv[0], O_RDONLY);
	p = fork(); if (!p) { syscall(SYS_execveat, fd, "", av, ev, AT_EMPTY_PATH); _exit(1); } waitpid(p, &st, 0); printf("execveat: %d\n", WEXITSTATUS(st)); close(fd); close(keep);
	static char stack[65536]; int result = 0;
	p = clone(child_fn, stack + sizeof stack, CLONE_VM | CLONE_FILES | SIGCHLD, &result); waitpid(p, &st, 0); printf("clone: %d %d\n", WEXITSTATUS(st), result);
	p = clone(child_fn, stack + sizeof stack, CLONE_VM, &result); { errno = 0; long r_ = (long)(waitpid(p, &st, 0)); printf("clone without SIGCHLD: %d %d", (int)r_, errno == ECHILD); } printf(" %d\n", waitpid(p, &st, __WALL) == p);
	{ errno = 0; long r_ = (long)(wait(&st)); printf("wait without children: %d %d\n", (int)r_, errno == ECHILD); }
	p = fork(); if (!p) { usleep(50000); _exit(6); }
	printf("WNOHANG: %d", waitpid(p, &st, WNOHANG)); siginfo_t si; waitid(P_PID, p, &si, WEXITED | WNOWAIT); printf(" waitid %d %d", si.si_code, si.si_status); waitpid(p, &st, 0); printf(" then %d\n", WEXITSTATUS(st));
	p = fork(); if (!p) { setpgid(0, 0); for (;;) pause(); }
	setpgid(p, p); printf("setpgid: %d\n", getpgid(p) == p); killpg(p, SIGTERM); printf("wait by group: %d\n", waitpid(-p, &st, 0) == p);
	p = fork(); if (!p) { _exit(!(setsid() == getpid() && getsid(0) == getpid() && getpgrp() == getpid() && setsid() == -1 && errno == EPERM)); }
	waitpid(p, &st, 0); printf("setsid: %d\n", WEXITSTATUS(st));
	int pfd[2]; pipe(pfd);
	p = fork(); if (!p) { if (!fork()) { while (getppid() != 1) usleep(1000); write(pfd[1], "o", 1); _exit(0); } _exit(0); }
	waitpid(p, &st, 0); char c = 0; close(pfd[1]); read(pfd[0], &c, 1); printf("orphan adopted: %c\n", c);
	pipe(pfd); prctl(PR_SET_CHILD_SUBREAPER, 1); pid_t me = getpid();
	p = fork(); if (!p) { if (!fork()) { while (getppid() != me) usleep(1000); _exit(3); } _exit(0); }
	waitpid(p, &st, 0); wait(&st); printf("subreaper: %d\n", WEXITSTATUS(st));
	struct rlimit rl; getrlimit(RLIMIT_NOFILE, &rl); rl.rlim_cur = 5; setrlimit(RLIMIT_NOFILE, &rl); int fds = 0; while (dup(0) >= 0) fds++; printf("EMFILE %d\n", errno == EMFILE);
	rl.rlim_cur = 1024; setrlimit(RLIMIT_NOFILE, &rl);
	prctl(PR_SET_NAME, "a name longer than fifteen"); char name[17] = {0}; prctl(PR_GET_NAME, name); printf("name %s\n", name);
	struct utsname u; uname(&u); printf("uname %s %s\n", u.sysname, u.machine);
	printf("auxv pagesz %lu random %d execfn %d entry %d phdr %d clktck %lu secure %lu platform %s uid %lu\n", getauxval(AT_PAGESZ), getauxval(AT_RANDOM) != 0, !strcmp((char *)getauxval(AT_EXECFN), argv[0]), getauxval(AT_ENTRY) != 0, getauxval(AT_PHDR) != 0, getauxval(AT_CLKTCK), getauxval(AT_SECURE), (char *)getauxval(AT_PLATFORM), getauxval(AT_UID));
	printf("ids %d %d %d %d\n", getuid(), geteuid(), getgid(), getegid());
	p = fork(); if (!p) { int r = setresgid(10, 10, 10) || setresuid(10, 20, 30); uid_t a, b, d; getresuid(&a, &b, &d); _exit(r || a != 10 || b != 20 || d != 30 || setuid(0) != -1 || errno != EPERM || seteuid(30) || geteuid() != 30); }
	waitpid(p, &st, 0); printf("set ids: %d\n", WEXITSTATUS(st));
	cpu_set_t cs; printf("affinity %d\n", sched_getaffinity(0, sizeof cs, &cs) == 0 && CPU_COUNT(&cs) >= 1);
	clock_t t0 = times(0); printf("times %d\n", t0 != (clock_t)-1);
	struct rusage ru; p = fork(); if (!p) { volatile long x = 0; for (long i = 0; i < 30000000; i++) x += i; _exit(0); }
	wait4(p, &st, 0, &ru); printf("rusage %d\n", ru.ru_utime.tv_sec * 1000000 + ru.ru_utime.tv_usec + ru.ru_stime.tv_usec > 1000);
	char big[200000]; memset(big, 'x', sizeof big - 1); big[sizeof big - 1] = 0; char *bv[] = {argv[0], big, NULL}; { errno = 0; long r_ = (long)(execv(argv[0], bv)); printf("exec too big: %d %d\n", (int)r_, errno == E2BIG); }
	p = fork(); if (!p) { execv(argv[0], av); _exit(1); } waitpid(p, &st, 0); printf("exec: %d\n", WEXITSTATUS(st));
	{ errno = 0; long r_ = (long)(syscall(5000)); printf("unknown call: %ld %d\n", (int)r_, errno == ENOSYS); }
	return 3;
}
