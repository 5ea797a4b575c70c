/*
 * Micro-benchmarks of system calls: one static program that runs unchanged on Ringo and on Linux.
 *
 * bench [-t MS] [-r ROUNDS] [-a FILE] [NAME...] prints a line "NAME median-ns minimum-ns" for each. Every round runs the operation for about
 * MS milliseconds; the number of operations is found first, by doubling. What a benchmark needs (pipes, children, files in the working folder)
 * is made before its clock starts and is gone afterwards.
 *
 * With -a every round is two, one after writing 0 to the file and one after writing 1, in turns which comes first; the line is then "NAME
 * median-ns-of-0 median-ns-of-1 median-of-the-rounds'-ratios".
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char buffer[1 << 16];
static char *self;

/* need ends a benchmark that this kernel cannot do: it is then reported as missing, not as fast. */
static void need(int ok, const char *what)
{
	if (!ok) {
		fprintf(stderr, "%s: %s\n", what, strerror(errno));
		_exit(3);
	}
}

static uint64_t now(void)
{
	struct timespec t;
	syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

/* The state of the benchmark that runs. Each runs in a process of its own. */
static int in[2], out[2], fd = -1, fds[64], epfd;
static pid_t child;
static _Atomic int word, other;

/* --- no state --- */
static void op_getpid(long n) { while (n--) syscall(SYS_getpid); }
static void op_gettid(long n) { while (n--) syscall(SYS_gettid); }
static void op_getuid(long n) { while (n--) syscall(SYS_getuid); }
static void op_clock(long n) { struct timespec t; while (n--) clock_gettime(CLOCK_MONOTONIC, &t); }
static void op_clock_call(long n) { struct timespec t; while (n--) syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &t); }
static void op_yield(long n) { while (n--) sched_yield(); }
static void op_sigmask(long n) { sigset_t s; sigemptyset(&s); while (n--) sigprocmask(SIG_BLOCK, &s, NULL); }
static void op_sigaction(long n) { struct sigaction a = { .sa_handler = SIG_IGN }; while (n--) sigaction(SIGUSR2, &a, NULL); }
static void op_sleep_past(long n) { struct timespec t = { 0, 1 }; while (n--) clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL); }
static void op_dup(long n) { while (n--) close(dup(0)); }
static void op_open(long n) { while (n--) { int f = open("file", O_RDONLY); need(f >= 0, "open"); close(f); } }
static void op_open_deep(long n) { while (n--) { int f = open("a/b/c/d/e/file", O_RDONLY); need(f >= 0, "open"); close(f); } }
static void op_stat(long n) { struct stat s; while (n--) need(stat("file", &s) == 0, "stat"); }
static void op_fstat(long n) { struct stat s; while (n--) need(fstat(fd, &s) == 0, "fstat"); }
static void op_access_none(long n) { while (n--) access("none", F_OK); }
static void op_create(long n) { while (n--) { int f = open("made", O_CREAT | O_EXCL | O_RDWR, 0600); need(f >= 0, "create"); close(f); need(unlink("made") == 0, "unlink"); } }
static void op_rename(long n) { while (n--) need(rename("file", "file2") == 0 && rename("file2", "file") == 0, "rename"); }
static void op_read_zero(long n) { while (n--) need(read(fd, buffer, 4096) == 4096, "read"); }
static void op_read_zero_1(long n) { while (n--) need(read(fd, buffer, 1) == 1, "read"); }
static void op_write_null(long n) { while (n--) need(write(fd, buffer, 4096) == 4096, "write"); }
static void op_write_null_1(long n) { while (n--) need(write(fd, buffer, 1) == 1, "write"); }
static void op_pread(long n) { while (n--) need(pread(fd, buffer, 4096, 0) == 4096, "pread"); }
static void op_pwrite(long n) { while (n--) need(pwrite(fd, buffer, 4096, 0) == 4096, "pwrite"); }
static void op_pread_64k(long n) { while (n--) need(pread(fd, buffer, 65536, 0) == 65536, "pread"); }
static void op_seek(long n) { while (n--) lseek(fd, 0, SEEK_SET); }
static void op_getdents(long n)
{
	while (n--) {
		lseek(fd, 0, SEEK_SET);
		need(syscall(SYS_getdents64, fd, buffer, sizeof buffer) > 0, "getdents64");
	}
}
static void op_writev(long n)
{
	struct iovec v[8];
	for (int i = 0; i < 8; i++)
		v[i] = (struct iovec){ buffer + i * 64, 64 };
	while (n--)
		need(writev(fd, v, 8) == 512, "writev");
}
static void op_pipe_same(long n)
{
	while (n--) {
		need(write(in[1], buffer, 64) == 64, "write");
		need(read(in[0], buffer, 64) == 64, "read");
	}
}
static void op_eventfd(long n)
{
	uint64_t v = 1;
	while (n--) {
		need(write(fd, &v, 8) == 8, "write");
		need(read(fd, &v, 8) == 8, "read");
	}
}
static void op_poll(long n)
{
	struct pollfd p = { in[1], POLLOUT, 0 };
	while (n--)
		need(poll(&p, 1, -1) == 1, "poll");
}
static void op_poll_64(long n)
{
	struct pollfd p[64];
	for (int i = 0; i < 64; i++)
		p[i] = (struct pollfd){ fds[i], POLLOUT, 0 };
	while (n--)
		need(poll(p, 64, -1) == 64, "poll");
}
static void op_select(long n)
{
	while (n--) {
		fd_set s;
		FD_ZERO(&s);
		FD_SET(in[1], &s);
		need(select(in[1] + 1, NULL, &s, NULL, NULL) == 1, "select");
	}
}
static void op_epoll(long n)
{
	struct epoll_event e;
	while (n--)
		need(epoll_wait(epfd, &e, 1, -1) == 1, "epoll_wait");
}
static void op_epoll_change(long n)
{
	struct epoll_event e = { .events = EPOLLIN };
	while (n--) {
		need(epoll_ctl(epfd, EPOLL_CTL_ADD, in[0], &e) == 0, "add");
		need(epoll_ctl(epfd, EPOLL_CTL_DEL, in[0], &e) == 0, "del");
	}
}

/* --- memory --- */
static void op_mmap(long n)
{
	while (n--) {
		void *p = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		need(p != MAP_FAILED, "mmap");
		munmap(p, 65536);
	}
}
static void op_fault(long n)
{
	while (n > 0) { /* an operation is one page */
		long pages = n < 256 ? n : 256;
		char *p = mmap(NULL, pages * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		need(p != MAP_FAILED, "mmap");
		for (long i = 0; i < pages; i++)
			p[i * 4096] = 1;
		munmap(p, pages * 4096);
		n -= pages;
	}
}
static void op_file_fault(long n)
{
	while (n > 0) {
		long pages = n < 16 ? n : 16;
		volatile char *p = mmap(NULL, pages * 4096, PROT_READ, MAP_PRIVATE, fd, 0);
		need(p != MAP_FAILED, "mmap");
		for (long i = 0; i < pages; i++)
			(void)p[i * 4096];
		munmap((void *)p, pages * 4096);
		n -= pages;
	}
}
static void op_mprotect(long n)
{
	char *p = mmap(NULL, 16 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	need(p != MAP_FAILED, "mmap");
	memset(p, 1, 16 * 4096);
	while (n--) {
		mprotect(p + 4096, 4096, PROT_READ);
		mprotect(p + 4096, 4096, PROT_READ | PROT_WRITE);
	}
	munmap(p, 16 * 4096);
}

/* --- signals --- */
static volatile sig_atomic_t caught;
static void on_signal(int s) { (void)s; caught++; }
static void op_signal(long n) { while (n--) raise(SIGUSR1); }
static char *guarded;
static void on_fault(int s, siginfo_t *i, void *u)
{
	(void)s, (void)u;
	mprotect((void *)((uintptr_t)i->si_addr & ~4095ul), 4096, PROT_READ | PROT_WRITE);
}
static void op_sigsegv(long n)
{
	while (n--) {
		mprotect(guarded, 4096, PROT_READ);
		*(volatile char *)guarded = 1;
	}
}

/* --- other processes and threads --- */
static void op_fork(long n)
{
	while (n--) {
		pid_t p = fork();
		need(p >= 0, "fork");
		if (!p)
			_exit(0);
		need(waitpid(p, NULL, 0) == p, "waitpid");
	}
}
static void op_exec(long n)
{
	char *argv[] = { self, "--nothing", NULL };
	while (n--) {
		pid_t p = fork();
		need(p >= 0, "fork");
		if (!p) {
			execv(self, argv);
			_exit(9);
		}
		int status;
		need(waitpid(p, &status, 0) == p && status == 0, "exec");
	}
}
static void op_spawn(long n)
{
	char *argv[] = { self, "--nothing", NULL };
	while (n--) {
		pid_t p;
		int status;
		need(posix_spawn(&p, self, NULL, NULL, argv, NULL) == 0, "posix_spawn");
		need(waitpid(p, &status, 0) == p && status == 0, "spawned program");
	}
}
static void *nothing(void *a) { return a; }
static void op_thread(long n)
{
	while (n--) {
		pthread_t t;
		need(pthread_create(&t, NULL, nothing, NULL) == 0, "pthread_create");
		pthread_join(t, NULL);
	}
}
static void op_pingpong(long n)
{
	while (n--) {
		need(write(in[1], buffer, 1) == 1, "write");
		need(read(out[0], buffer, 1) == 1, "read");
	}
}
static void op_futex(long n)
{
	while (n--) {
		word = 1;
		syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
		while (word == 1)
			syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0);
	}
}
static void op_futex_wake(long n) { while (n--) syscall(SYS_futex, &other, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0); }
static void op_socket(long n)
{
	while (n--) {
		need(send(fd, buffer, 64, 0) == 64, "send");
		need(recv(fd, buffer, 64, MSG_WAITALL) == 64, "recv");
	}
}
static void op_socket_same(long n)
{
	while (n--) {
		need(send(in[0], buffer, 64, 0) == 64, "send");
		need(recv(in[1], buffer, 64, 0) == 64, "recv");
	}
}
static void op_pipe_bulk(long n) { while (n--) need(write(in[1], buffer, 65536) == 65536, "write"); }
static _Atomic int switching;
static void *yielder(void *a)
{
	while (switching)
		sched_yield();
	return a;
}

/* --- preparations --- */
static void open_fd(const char *name, int flags, size_t size)
{
	fd = open(name, flags, 0600);
	need(fd >= 0, name);
	for (size_t done = 0; done < size; done += sizeof buffer)
		need(pwrite(fd, buffer, sizeof buffer, done) == sizeof buffer, "pwrite");
}
static void no_setup(void) {}
static void with_zero(void) { open_fd("/dev/zero", O_RDONLY, 0); }
static void with_null(void) { open_fd("/dev/null", O_WRONLY, 0); }
static void with_file(void) { open_fd("file", O_RDWR | O_CREAT, 65536); }
static void with_deep(void)
{
	char path[32] = "";
	for (int i = 0; i < 5; i++) {
		sprintf(path + strlen(path), "%s%c", i ? "/" : "", 'a' + i);
		mkdir(path, 0700);
	}
	strcat(path, "/file");
	open_fd(path, O_RDWR | O_CREAT, 0);
}
static void with_folder(void)
{
	char name[16];
	for (int i = 0; i < 50; i++) {
		sprintf(name, "entry%d", i);
		close(open(name, O_CREAT | O_RDWR, 0600));
	}
	open_fd(".", O_RDONLY | O_DIRECTORY, 0);
}
static void with_pipe(void) { need(pipe(in) == 0, "pipe"); }
static void with_pipes(void)
{
	with_pipe();
	for (int i = 0; i < 64; i++)
		need((fds[i] = dup(in[1])) >= 0, "dup");
}
static void with_eventfd(void) { need((fd = eventfd(0, 0)) >= 0, "eventfd"); }
static void with_epoll(void)
{
	struct epoll_event e = { .events = EPOLLOUT };
	with_pipe();
	need((epfd = epoll_create1(0)) >= 0, "epoll_create1");
	need(epoll_ctl(epfd, EPOLL_CTL_ADD, in[1], &e) == 0, "epoll_ctl");
}
static void with_handler(void) { signal(SIGUSR1, on_signal); }
static void with_guard(void)
{
	struct sigaction a = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };
	sigaction(SIGSEGV, &a, NULL);
	guarded = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	need(guarded != MAP_FAILED, "mmap");
}
static void with_echo(void)
{
	need(pipe(in) == 0 && pipe(out) == 0, "pipe");
	if (!(child = fork())) {
		close(in[1]);
		while (read(in[0], buffer, 1) == 1)
			write(out[1], buffer, 1);
		_exit(0);
	}
	need(child > 0, "fork");
}
static void with_sink(void)
{
	with_pipe();
	if (!(child = fork())) {
		close(in[1]);
		while (read(in[0], buffer, sizeof buffer) > 0)
			;
		_exit(0);
	}
	need(child > 0, "fork");
}
static void echo(int s)
{
	ssize_t n;
	while ((n = recv(s, buffer, 64, 0)) > 0)
		send(s, buffer, n, 0);
	_exit(0);
}
static void with_unix(void)
{
	need(socketpair(AF_UNIX, SOCK_STREAM, 0, in) == 0, "socketpair");
	if (!(child = fork())) {
		close(in[0]);
		echo(in[1]);
	}
	need(child > 0, "fork");
	close(in[1]);
	fd = in[0];
}
static void with_unix_pair(void) { need(socketpair(AF_UNIX, SOCK_DGRAM, 0, in) == 0, "socketpair"); }
static void with_tcp(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof a;
	int one = 1, l = socket(AF_INET, SOCK_STREAM, 0);
	need(l >= 0, "socket");
	need(bind(l, (void *)&a, sizeof a) == 0 && listen(l, 1) == 0 && getsockname(l, (void *)&a, &size) == 0, "listen");
	if (!(child = fork())) {
		int s = accept(l, NULL, NULL);
		setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
		echo(s);
	}
	fd = socket(AF_INET, SOCK_STREAM, 0);
	need(connect(fd, (void *)&a, sizeof a) == 0, "connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}
static void *partner(void *a)
{
	for (;;) {
		while (word == 0)
			syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
		word = 0;
		syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
	}
	return a;
}
static void with_partner(void)
{
	pthread_t t;
	need(pthread_create(&t, NULL, partner, NULL) == 0, "pthread_create");
}
static void on_one_cpu(void)
{
	cpu_set_t s;
	CPU_ZERO(&s);
	CPU_SET(0, &s);
	need(sched_setaffinity(0, sizeof s, &s) == 0, "sched_setaffinity");
}
static void with_yielder(void)
{
	pthread_t t;
	on_one_cpu();
	switching = 1;
	need(pthread_create(&t, NULL, yielder, NULL) == 0, "pthread_create");
}
static void with_echo_here(void)
{
	on_one_cpu();
	with_echo();
}

static const struct benchmark {
	const char *name;
	void (*setup)(void);
	void (*op)(long n);
} benchmarks[] = {
	{ "getpid", no_setup, op_getpid },
	{ "gettid", no_setup, op_gettid },
	{ "getuid", no_setup, op_getuid },
	{ "clock_gettime", no_setup, op_clock },
	{ "clock_gettime_call", no_setup, op_clock_call },
	{ "clock_nanosleep_past", no_setup, op_sleep_past },
	{ "sched_yield", no_setup, op_yield },
	{ "sigprocmask", no_setup, op_sigmask },
	{ "sigaction", no_setup, op_sigaction },
	{ "signal", with_handler, op_signal },
	{ "signal_fault", with_guard, op_sigsegv },
	{ "read_zero_1", with_zero, op_read_zero_1 },
	{ "read_zero_4k", with_zero, op_read_zero },
	{ "write_null_1", with_null, op_write_null_1 },
	{ "write_null_4k", with_null, op_write_null },
	{ "writev_null_8", with_null, op_writev },
	{ "dup_close", no_setup, op_dup },
	{ "open_close", with_file, op_open },
	{ "open_close_deep", with_deep, op_open_deep },
	{ "stat", with_file, op_stat },
	{ "fstat", with_file, op_fstat },
	{ "access_missing", no_setup, op_access_none },
	{ "create_unlink", no_setup, op_create },
	{ "rename", with_file, op_rename },
	{ "getdents_50", with_folder, op_getdents },
	{ "lseek", with_file, op_seek },
	{ "file_read_4k", with_file, op_pread },
	{ "file_write_4k", with_file, op_pwrite },
	{ "file_read_64k", with_file, op_pread_64k },
	{ "pipe_same_thread", with_pipe, op_pipe_same },
	{ "pipe_pingpong", with_echo, op_pingpong },
	{ "pipe_pingpong_1cpu", with_echo_here, op_pingpong },
	{ "pipe_bulk_64k", with_sink, op_pipe_bulk },
	{ "eventfd", with_eventfd, op_eventfd },
	{ "poll_1", with_pipe, op_poll },
	{ "poll_64", with_pipes, op_poll_64 },
	{ "select_1", with_pipe, op_select },
	{ "epoll_wait", with_epoll, op_epoll },
	{ "epoll_ctl", with_epoll, op_epoll_change },
	{ "unix_same_thread", with_unix_pair, op_socket_same },
	{ "unix_pingpong", with_unix, op_socket },
	{ "tcp_pingpong", with_tcp, op_socket },
	{ "futex_wake_none", no_setup, op_futex_wake },
	{ "futex_pingpong", with_partner, op_futex },
	{ "switch_yield_1cpu", with_yielder, op_yield },
	{ "thread_create", no_setup, op_thread },
	{ "fork_exit", no_setup, op_fork },
	{ "fork_exec", no_setup, op_exec },
	{ "posix_spawn", no_setup, op_spawn },
	{ "mmap_munmap", no_setup, op_mmap },
	{ "mprotect", no_setup, op_mprotect },
	{ "page_fault", no_setup, op_fault },
	{ "file_fault", with_file, op_file_fault },
};

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

/* once is the time of an operation, in ns. */
static double once(const struct benchmark *b, long n)
{
	uint64_t t = now();
	b->op(n);
	return (double)(now() - t) / n;
}

#define MAX_ROUNDS 1000

/* alternate measures both settings of a switch. */
static void alternate(const struct benchmark *b, long n, int rounds, int file)
{
	static double took[2][MAX_ROUNDS], ratio[MAX_ROUNDS];
	for (int i = 0; i < 2 * rounds; i++) {
		int set = (i ^ i >> 1) & 1;
		need(pwrite(file, set ? "1" : "0", 1, 0) == 1, "the switch");
		took[set][i / 2] = once(b, n);
	}
	for (int i = 0; i < rounds; i++)
		ratio[i] = took[1][i] / took[0][i];
	qsort(took[0], rounds, sizeof(double), ascending);
	qsort(took[1], rounds, sizeof(double), ascending);
	qsort(ratio, rounds, sizeof(double), ascending);
	printf("%s %.1f %.1f %.4f\n", b->name, took[0][rounds / 2], took[1][rounds / 2], ratio[rounds / 2]);
}

/* run measures one benchmark, in a child so that nothing of it is left. */
static void run(const struct benchmark *b, uint64_t ns, int rounds, int file)
{
	static double took[MAX_ROUNDS];
	b->setup();
	long n = 1;
	for (;;) { /* find out how many operations a round has; this warms up as well */
		uint64_t t = now();
		b->op(n);
		t = now() - t;
		if (t >= ns / 4 || n >= 1l << 30) {
			n = (double)n * ns / (t ? t : 1);
			break;
		}
		n *= 2;
	}
	if (n < 1)
		n = 1;
	if (file >= 0) {
		alternate(b, n, rounds, file);
	} else {
		for (int i = 0; i < rounds; i++)
			took[i] = once(b, n);
		qsort(took, rounds, sizeof took[0], ascending);
		printf("%s %.1f %.1f\n", b->name, took[rounds / 2], took[0]);
	}
	fflush(stdout);
	if (child > 0)
		kill(child, SIGKILL);
	_exit(0);
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "--nothing"))
		_exit(0);
	int option, ms = 20, rounds = 5, file = -1;
	while ((option = getopt(argc, argv, "t:r:a:")) != -1) {
		if (option == 't')
			ms = atoi(optarg);
		else if (option == 'r')
			rounds = atoi(optarg);
		else if (option == 'a')
			need((file = open(optarg, O_WRONLY | O_CLOEXEC)) >= 0, optarg);
		else
			return 2;
	}
	if (ms < 1 || rounds < 1 || rounds > MAX_ROUNDS)
		return 2;
	self = realpath(argv[0], NULL);
	need(self != NULL, argv[0]);
	char folder[] = "/tmp/bench.XXXXXX";
	need(mkdtemp(folder) != NULL && chdir(folder) == 0, folder);
	for (size_t i = 0; i < sizeof benchmarks / sizeof benchmarks[0]; i++) {
		const struct benchmark *b = &benchmarks[i];
		int wanted = optind == argc;
		for (int j = optind; j < argc; j++)
			wanted |= !strcmp(argv[j], b->name);
		if (!wanted)
			continue;
		fflush(stdout);
		pid_t p = fork();
		need(p >= 0, "fork");
		if (!p) {
			alarm(60);
			run(b, ms * 1000000ull, rounds, file);
		}
		int status;
		waitpid(p, &status, 0);
		if (status)
			printf("%s missing (status %#x)\n", b->name, status);
	}
	return 0;
}
