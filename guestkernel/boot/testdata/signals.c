// Signals: handlers, masks, alternate stack, siginfo, restart, nested handlers, vector state across handlers, faults.
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

static volatile int count, last, code, value;
static void *volatile addr;
static void plain(int s) { count++; last = s; }
static void info(int s, siginfo_t *i, void *u) { count++; last = s; code = i->si_code; addr = i->si_addr; value = i->si_value.sival_int; }
static sigjmp_buf jb;
static void jump(int s, siginfo_t *i, void *u) { last = s; code = i->si_code; addr = i->si_addr; siglongjmp(jb, 1); }
static char *volatile where;
static void on_stack(int s) { char c; where = &c; count++; }
static void nested(int s) { count++; if (s == SIGUSR1) { raise(SIGUSR2); last = 1000 + last; } else last = s; }
static void clobber(int s) { volatile double d[16]; for (int i = 0; i < 16; i++) d[i] = i * -3.25; double x = 0; for (int i = 0; i < 16; i++) x += d[i]; count += x < 0; }
static volatile unsigned long seen_mask;
static void sees_mask(int s) { sigset_t m; sigprocmask(0, 0, &m); seen_mask = sigismember(&m, SIGUSR1) | sigismember(&m, SIGUSR2) << 1; }

static void act(int sig, void (*h)(int), int flags) { struct sigaction a; memset(&a, 0, sizeof a); a.sa_handler = h; a.sa_flags = flags; sigaction(sig, &a, 0); }
static void act3(int sig, void (*h)(int, siginfo_t *, void *), int flags) { struct sigaction a; memset(&a, 0, sizeof a); a.sa_sigaction = h; a.sa_flags = flags | SA_SIGINFO; sigaction(sig, &a, 0); }

// Sends the parent SIGUSR1 again and again until a byte says that it was interrupted: the signal may come before the call it is to interrupt.
static void signal_until(int fd) {
	struct pollfd p = {fd, POLLIN, 0};
	do kill(getppid(), SIGUSR1); while (poll(&p, 1, 5) == 0);
}

int main(void) {
	int ack[2], e;
	act(SIGUSR1, plain, 0); raise(SIGUSR1); printf("raise: %d %d\n", count, last == SIGUSR1);
	sigset_t s, old; sigemptyset(&s); sigaddset(&s, SIGUSR1); sigprocmask(SIG_BLOCK, &s, &old);
	raise(SIGUSR1); raise(SIGUSR1); sigset_t p; sigpending(&p);
	printf("blocked: count %d pending %d\n", count, sigismember(&p, SIGUSR1));
	sigprocmask(SIG_SETMASK, &old, 0); printf("unblocked: %d\n", count);

	act3(SIGRTMIN, info, 0); sigset_t rt; sigemptyset(&rt); sigaddset(&rt, SIGRTMIN); sigprocmask(SIG_BLOCK, &rt, 0);
	count = 0; for (int i = 1; i <= 3; i++) { union sigval v = {.sival_int = i}; sigqueue(getpid(), SIGRTMIN, v); }
	sigprocmask(SIG_UNBLOCK, &rt, 0); printf("real-time: count %d last value %d code %d\n", count, value, code);

	struct timespec z = {0, 10000000}; siginfo_t si;
	sigprocmask(SIG_BLOCK, &s, 0); kill(getpid(), SIGUSR1);
	int r = sigtimedwait(&s, &si, &z); printf("sigtimedwait %d code %d pid %d\n", r == SIGUSR1, si.si_code, si.si_pid == getpid());
	r = sigtimedwait(&s, &si, &z); { errno = 0; long r_ = (long)(r); printf("sigtimedwait timeout %d %d\n", (int)r_, errno == EAGAIN); }
	sigprocmask(SIG_UNBLOCK, &s, 0);

	stack_t ss = {.ss_sp = malloc(65536), .ss_size = 65536}; sigaltstack(&ss, 0);
	act(SIGUSR2, on_stack, SA_ONSTACK); raise(SIGUSR2);
	printf("altstack: %d\n", where >= (char *)ss.ss_sp && where < (char *)ss.ss_sp + 65536);
	stack_t os; sigaltstack(0, &os); printf("altstack query: flags %d size %zu\n", os.ss_flags, os.ss_size);

	act3(SIGSEGV, jump, SA_ONSTACK | SA_NODEFER);
	if (!sigsetjmp(jb, 1)) *(volatile int *)8 = 1;
	printf("segv: code %d addr %p\n", code, addr);
	char *ro = mmap(0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (!sigsetjmp(jb, 1)) *ro = 1;
	printf("segv read-only: code %d addr %d\n", code, addr == ro);
	act3(SIGBUS, jump, 0);
	FILE *f = tmpfile(); int fd = f ? fileno(f) : -1;
	char *fm = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (fm != MAP_FAILED) { ftruncate(fd, 100); fm[50] = 1; if (!sigsetjmp(jb, 1)) fm[4096] = 1; printf("bus: signal %d code %d addr %d\n", last == SIGBUS, code, addr == fm + 4096); }
	else printf("bus: no map %d\n", errno);

	act(SIGUSR1, nested, 0); act(SIGUSR2, nested, 0); count = last = 0; raise(SIGUSR1);
	printf("nested: %d %d\n", count, last == 1000 + SIGUSR2);
	struct sigaction ma; memset(&ma, 0, sizeof ma); ma.sa_handler = sees_mask; sigaddset(&ma.sa_mask, SIGUSR2); sigaction(SIGUSR1, &ma, 0); raise(SIGUSR1);
	printf("mask in handler %lu\n", seen_mask);
	act(SIGUSR1, plain, SA_RESETHAND); raise(SIGUSR1); struct sigaction q; sigaction(SIGUSR1, 0, &q); printf("reset hand %d\n", q.sa_handler == SIG_DFL);

	// Vector registers across asynchronous handlers.
	act(SIGALRM, clobber, SA_RESTART); count = 0;
	struct itimerval it = {{0, 1000}, {0, 1000}}; setitimer(ITIMER_REAL, &it, 0);
	double v[8] = {1, 2, 3, 4, 5, 6, 7, 8}; unsigned long n = 0;
	while (count < 20) { for (int i = 0; i < 8; i++) v[i] = v[i] * 1.0000000001 + 0.5 - 0.5; n++; }
	memset(&it, 0, sizeof it); setitimer(ITIMER_REAL, &it, 0);
	int ok = 1; for (int i = 1; i < 8; i++) { double q = v[i] / v[0] - (i + 1); if (q > 1e-6 || q < -1e-6) ok = 0; }
	printf("vector state %d\n", ok);

	// Restart and EINTR.
	int pfd[2]; pipe(pfd); char c; pid_t kid;
	for (int restart = 0; restart < 2; restart++) {
		act(SIGUSR1, plain, restart ? SA_RESTART : 0);
		if (pipe(ack)) return 1;
		if (!(kid = fork())) { if (restart) kill(getppid(), SIGUSR1); else signal_until(ack[0]); write(pfd[1], "x", 1); _exit(0); }
		r = read(pfd[0], &c, 1); printf("read with%s SA_RESTART: %d %s\n", restart ? "" : "out", r, r < 0 && errno == EINTR ? "EINTR" : "");
		if (r < 0) { signal(SIGUSR1, SIG_IGN); write(ack[1], "x", 1); read(pfd[0], &c, 1); }
		while (waitpid(kid, 0, 0) < 0 && errno == EINTR) ;
		close(ack[0]); close(ack[1]);
	}
	act(SIGUSR1, plain, SA_RESTART);
	if (pipe(ack)) return 1;
	if (!(kid = fork())) { signal_until(ack[0]); _exit(0); }
	struct timespec req = {100, 0}, rem = {0, 0}; r = nanosleep(&req, &rem); e = errno; write(ack[1], "x", 1);
	printf("nanosleep interrupted %d rem %d\n", r == -1 && e == EINTR, rem.tv_sec > 0); waitpid(kid, 0, 0);
	sigemptyset(&s); sigaddset(&s, SIGUSR1); sigprocmask(SIG_BLOCK, &s, &old);
	if (!(kid = fork())) { kill(getppid(), SIGUSR1); _exit(0); }
	sigset_t none; sigemptyset(&none); count = 0; r = sigsuspend(&none); sigprocmask(0, 0, &p);
	printf("sigsuspend %d count %d blocked again %d\n", r == -1 && errno == EINTR, count, sigismember(&p, SIGUSR1)); waitpid(kid, 0, 0);
	sigprocmask(SIG_SETMASK, &old, 0);

	// Default actions and stops.
	int sigs[] = {SIGHUP, SIGSEGV, SIGABRT, SIGPIPE, SIGALRM, SIGRTMIN + 3, SIGKILL};
	for (int i = 0; i < 7; i++) { int st; if (!(kid = fork())) { signal(sigs[i], SIG_DFL); raise(sigs[i]); _exit(7); } waitpid(kid, &st, 0); printf("default %d: %d %d\n", i, WIFSIGNALED(st), WTERMSIG(st) == sigs[i]); }
	if (!(kid = fork())) { raise(SIGCHLD); raise(SIGURG); raise(SIGWINCH); raise(SIGCONT); _exit(7); }
	int st; waitpid(kid, &st, 0); printf("ignored by default: %d\n", WEXITSTATUS(st));
	if (!(kid = fork())) { raise(SIGSTOP); _exit(8); }
	waitpid(kid, &st, WUNTRACED); printf("stopped %d %d\n", WIFSTOPPED(st), WSTOPSIG(st) == SIGSTOP);
	kill(kid, SIGCONT); waitpid(kid, &st, WCONTINUED); printf("continued %d\n", WIFCONTINUED(st));
	waitpid(kid, &st, 0); printf("then exited %d\n", WEXITSTATUS(st));
	if (!(kid = fork())) { for (;;) ; }
	kill(kid, SIGSTOP); waitpid(kid, &st, WUNTRACED); kill(kid, SIGKILL); waitpid(kid, &st, 0); printf("killed while stopped %d\n", WTERMSIG(st));
	act3(SIGCHLD, info, 0); count = 0; sigemptyset(&s); sigaddset(&s, SIGCHLD); sigprocmask(SIG_BLOCK, &s, 0);
	if (!(kid = fork())) _exit(3);
	sigwaitinfo(&s, &si); printf("SIGCHLD code %d status %d pid %d\n", si.si_code, si.si_status, si.si_pid == kid); waitpid(kid, 0, 0);
	signal(SIGCHLD, SIG_IGN); if (!(kid = fork())) _exit(3);
	r = waitpid(kid, &st, 0); printf("ignored SIGCHLD: %d %s\n", r, errno == ECHILD ? "ECHILD" : "");
	{ errno = 0; long r_ = (long)(kill(kid, 0)); printf("kill: %d %d\n", (int)r_, errno == ESRCH); }
	return 0;
}
