// Random system calls with random arguments, each child a few hundred of them. Prints the seed of a run; the kernel must live through it.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
static unsigned long long s;
static unsigned long long rnd(void) { s ^= s << 13; s ^= s >> 7; s ^= s << 17; return s; }
static char *mem;
static unsigned long arg(void) {
	switch (rnd() % 12) {
	case 0: return 0;
	case 1: return rnd() % 16;
	case 2: return -(rnd() % 16);
	case 3: return (unsigned long)mem + rnd() % 65536;
	case 4: return (unsigned long)mem + (rnd() % 16) * 4096;
	case 5: return (rnd() % 64) * 4096;
	case 6: return 1UL << (rnd() % 64);
	case 7: return rnd();
	case 8: return (unsigned long)mem;
	case 9: return 0x7ffffffff000UL - rnd() % 8192;
	case 10: return rnd() % 4096;
	default: return (unsigned long)&s + rnd() % 256;
	}
}
static int skip(long n) {
	switch (n) { // would end or stop the run itself, not the kernel
	case SYS_exit: case SYS_exit_group: case SYS_kill: case SYS_tkill: case SYS_tgkill: case SYS_rt_sigqueueinfo: case SYS_rt_tgsigqueueinfo:
	case SYS_clone: case SYS_clone3: case SYS_rt_sigreturn: case SYS_setsid: case SYS_setpgid:
#ifdef SYS_fork
	case SYS_fork: case SYS_vfork: case SYS_pause:
#endif
	case SYS_reboot: case SYS_rt_sigsuspend: case SYS_unlinkat: case SYS_renameat: case SYS_chroot: case SYS_umount2: case SYS_mount: case SYS_setitimer:
		return 1;
	}
	return 0;
}
/* The child's own timer does not always end it: it may have had SIGALRM blocked or ignored before it went to sleep for good. */
static volatile pid_t child;
static void enough(int sig) { (void)sig; kill(child, SIGKILL); }

int main(int argc, char **argv) {
	signal(SIGALRM, enough);
	// "60" is 60 rounds, "60s" a minute.
	int rounds = argc > 1 ? atoi(argv[1]) : 50; time_t end = argc > 1 && strchr(argv[1], 's') ? time(0) + rounds : 0; unsigned long long seed = argc > 2 ? atoll(argv[2]) : 1;
	long only = argc > 3 ? atol(argv[3]) : -1;
	int died = 0;
	int done = 0;
	for (int i = 0; end ? time(0) < end : i < rounds; i++, done++) {
		pid_t p = fork();
		if (!p) {
			signal(SIGALRM, SIG_DFL);
			s = seed * 1000003 + i * 7919 + 1; for (int k = 0; k < 10; k++) rnd();
			struct rlimit small = {1 << 20, 1 << 20}; setrlimit(RLIMIT_FSIZE, &small); // files stay: they must not fill the machine
			setpgid(0, 0); signal(SIGPIPE, SIG_IGN);
			mem = mmap(0, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
			for (int k = 0; k < 65536; k += 8) *(unsigned long *)(mem + k) = rnd() % 3 ? rnd() % 256 : rnd();
			strcpy(mem, "/tmp/x"); strcpy(mem + 4096, "/proc/self/status"); strcpy(mem + 8192, "/dev/null");
			int fds[2]; pipe(fds); open("/tmp", O_RDONLY); open("/tmp/fuzzed", O_RDWR | O_CREAT, 0600); open("/dev/zero", O_RDWR);
			struct itimerval soon = {{0, 0}, {0, 50000}};
			close(0); close(1); close(2);
			for (int k = 0; k < 200; k++) {
				long n = only >= 0 ? only : rnd() % 460;
				if (skip(n)) continue;
				setitimer(ITIMER_REAL, &soon, 0);
				syscall(n, arg(), arg(), arg(), arg(), arg(), arg());
			}
			_exit(0);
		}
		child = p; alarm(10);
		int st; while (waitpid(p, &st, 0) < 0 && errno == EINTR) {}
		alarm(0);
		kill(-p, SIGKILL);
		died += WIFSIGNALED(st);
	}
	while (wait(0) > 0) {}
	printf("%d rounds done\n", done);
	return 0;
}
