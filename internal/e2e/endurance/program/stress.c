/*
 * A mix of everything for a given time: processes, signals, memory, pipes, sockets, threads, files, timers, each checking its own results.
 *
 * stress SECONDS [SEED] prints how often each worker came round and "no wrong result", exit status 0; or what was wrong, 1. A worker that
 * makes no round for two minutes hangs: said by name, status 2.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
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
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static char *self;
static uint64_t state;
static const char *me; /* the worker's name */

static uint32_t rnd(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state >> 16;
}

#define check(c, ...)                                                      \
	do {                                                               \
		if (!(c)) {                                                \
			int saved = errno;                                 \
			dprintf(2, "%s: line %d: ", me, __LINE__);         \
			dprintf(2, __VA_ARGS__);                           \
			dprintf(2, " (errno %d)\n", saved);                \
			_exit(1);                                          \
		}                                                          \
	} while (0)

/* Processes: a tree of forks, each with its own copy of a page, whose exit statuses add up. */
static void forks(void)
{
	volatile uint32_t *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	check(page != MAP_FAILED, "mmap");
	uint32_t mark = rnd();
	page[0] = mark;
	pid_t children[12];
	int n = 1 + rnd() % 12;
	for (int i = 0; i < n; i++) {
		children[i] = fork();
		check(children[i] >= 0, "fork");
		if (!children[i]) {
			check(page[0] == mark, "a child sees %x, not %x", page[0], mark);
			page[0] = mark + i;
			if (i % 3 == 0) {
				pid_t p = fork();
				check(p >= 0, "fork");
				if (!p)
					_exit(page[0] == mark + i ? 7 : 8);
				int st;
				check(waitpid(p, &st, 0) == p && WIFEXITED(st) && WEXITSTATUS(st) == 7, "grandchild: %x", st);
			}
			check(page[0] == mark + i, "a sibling wrote to a private page");
			_exit((mark + i) & 127);
		}
	}
	for (int i = 0; i < n; i++) {
		int st;
		check(waitpid(children[i], &st, 0) == children[i], "waitpid");
		check(WIFEXITED(st) && WEXITSTATUS(st) == (int)((mark + i) & 127), "child %d ended with %#x", i, st);
	}
	check(page[0] == mark, "a child wrote to the parent's page");
	munmap((void *)page, 8192);
}

/* A program that computes: started, its output read. */
static void programs(void)
{
	int p[2], n = rnd() % 100000;
	char arg[16], out[32] = "", want[32];
	check(pipe2(p, O_CLOEXEC) == 0, "pipe");
	sprintf(arg, "%d", n);
	sprintf(want, "%lld\n", (long long)n * (n + 1) / 2);
	posix_spawn_file_actions_t a;
	posix_spawn_file_actions_init(&a);
	posix_spawn_file_actions_adddup2(&a, p[1], 1);
	char *argv[] = { self, "--sum", arg, NULL };
	pid_t pid;
	int e = posix_spawn(&pid, self, &a, NULL, argv, environ), st;
	errno = e;
	check(e == 0, "posix_spawn");
	posix_spawn_file_actions_destroy(&a);
	close(p[1]);
	size_t got = 0;
	ssize_t r;
	while ((r = read(p[0], out + got, sizeof out - 1 - got)) > 0)
		got += r;
	close(p[0]);
	check(waitpid(pid, &st, 0) == pid && st == 0, "status %#x", st);
	check(!strcmp(out, want), "it printed '%s', not '%s'", out, want);
}

/* Queued signals: all arrive, in order, with their values. */
static volatile uint32_t arrived, sum;
static void on_queued(int s, siginfo_t *i, void *u)
{
	(void)s, (void)u;
	sum = sum * 31 + i->si_value.sival_int;
	arrived++;
}
static void queued(void)
{
	struct sigaction a = { .sa_sigaction = on_queued, .sa_flags = SA_SIGINFO | SA_RESTART };
	sigaction(SIGRTMIN + 3, &a, NULL);
	sigset_t set, old;
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 3);
	sigprocmask(SIG_BLOCK, &set, &old);
	arrived = sum = 0;
	uint32_t seed = rnd() % 1000, want = 0;
	int n = 1 + rnd() % 200;
	for (int i = 0; i < n; i++)
		want = want * 31 + (seed + i);
	pid_t p = fork(), parent = getppid();
	(void)parent;
	check(p >= 0, "fork");
	if (!p) {
		pid_t to = getppid();
		for (int i = 0; i < n; i++)
			while (sigqueue(to, SIGRTMIN + 3, (union sigval){ .sival_int = seed + i }))
				check(errno == EAGAIN, "sigqueue");
		_exit(0);
	}
	sigdelset(&old, SIGRTMIN + 3);
	while ((int)arrived < n)
		sigsuspend(&old);
	check((int)arrived == n && sum == want, "%u of %d signals, sum %u, not %u", arrived, n, sum, want);
	check(waitpid(p, NULL, 0) == p, "waitpid");
}

/* Memory: mappings come and go and move; their contents stay. */
static void memory(void)
{
	struct { unsigned char *p; size_t pages; unsigned char fill; } m[24] = { { 0 } };
	for (int i = 0; i < 200; i++) {
		int k = rnd() % 24;
		if (!m[k].p) {
			m[k].pages = 1 + rnd() % 40;
			m[k].p = mmap(NULL, m[k].pages * 4096, PROT_READ | PROT_WRITE, (rnd() % 4 ? MAP_PRIVATE : MAP_SHARED) | MAP_ANONYMOUS, -1, 0);
			check(m[k].p != MAP_FAILED, "mmap");
			for (size_t j = 0; j < m[k].pages * 4096; j += 1024)
				check(m[k].p[j] == 0, "a new page is not zero: %d", m[k].p[j]);
			m[k].fill = 1 + rnd() % 255;
			memset(m[k].p, m[k].fill, m[k].pages * 4096);
			continue;
		}
		for (size_t j = 0; j < m[k].pages * 4096; j += 512)
			check(m[k].p[j] == m[k].fill, "byte %zu of %zu pages is %d, not %d", j, m[k].pages, m[k].p[j], m[k].fill);
		size_t less = m[k].pages > 1 ? 1 + rnd() % (m[k].pages - 1) : 1;
		switch (rnd() % 5) {
		case 0:
			check(munmap(m[k].p, m[k].pages * 4096) == 0, "munmap");
			m[k].p = NULL;
			break;
		case 1:
			check(munmap(m[k].p + less * 4096, (m[k].pages - less) * 4096) == 0 || m[k].pages == less, "munmap of the end");
			m[k].pages = less;
			break;
		case 2: {
			unsigned char *p = mremap(m[k].p, m[k].pages * 4096, less * 4096, MREMAP_MAYMOVE);
			check(p != MAP_FAILED, "mremap");
			m[k].p = p, m[k].pages = less;
			break;
		}
		case 3:
			check(mprotect(m[k].p, less * 4096, PROT_READ) == 0 && mprotect(m[k].p, less * 4096, PROT_READ | PROT_WRITE) == 0, "mprotect");
			m[k].p[0] = m[k].fill;
			break;
		case 4:
			check(madvise(m[k].p, m[k].pages * 4096, MADV_WILLNEED) == 0, "madvise");
		}
	}
	for (int k = 0; k < 24; k++)
		if (m[k].p)
			munmap(m[k].p, m[k].pages * 4096);
}

/* Streams: bytes through a pipe, a UNIX socket or TCP, echoed by a child, come back as they went. */
static void echo(int in, int out)
{
	char b[5000];
	ssize_t n;
	while ((n = read(in, b, sizeof b)) > 0)
		for (ssize_t done = 0, w; done < n; done += w)
			if ((w = write(out, b + done, n - done)) <= 0)
				_exit(1);
	_exit(0);
}
static void through(int in, int out, pid_t p)
{
	static unsigned char sent[70000], got[70000];
	size_t n = 1 + rnd() % sizeof sent, to = 0, from = 0;
	for (size_t i = 0; i < n; i++)
		sent[i] = rnd();
	fcntl(out, F_SETFL, O_NONBLOCK);
	while (from < n) {
		struct pollfd f[2] = { { in, POLLIN, 0 }, { out, to < n ? POLLOUT : 0, 0 } };
		check(poll(f, 2, 60000) > 0, "poll: nothing for a minute, %zu sent and %zu received of %zu", to, from, n);
		if (f[1].revents & POLLOUT) {
			ssize_t w = write(out, sent + to, n - to > 9000 ? 9000 : n - to);
			check(w > 0 || errno == EAGAIN, "write");
			if (w > 0)
				to += w;
		}
		if (f[0].revents & (POLLIN | POLLHUP)) {
			ssize_t r = read(in, got + from, n - from);
			check(r > 0 || (r < 0 && errno == EAGAIN), "read %zd after %zu of %zu", r, from, n);
			if (r > 0)
				from += r;
		}
	}
	check(!memcmp(sent, got, n), "%zu bytes came back changed", n);
	close(out);
	if (in != out)
		close(in);
	int st;
	check(waitpid(p, &st, 0) == p && st == 0, "the echo ended with %#x", st);
}
static void pipes(void)
{
	int a[2], b[2];
	check(pipe(a) == 0 && pipe(b) == 0, "pipe");
	pid_t p = fork();
	check(p >= 0, "fork");
	if (!p) {
		close(a[1]), close(b[0]);
		echo(a[0], b[1]);
	}
	close(a[0]), close(b[1]);
	through(b[0], a[1], p);
}
static void unix_sockets(void)
{
	int s[2];
	check(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0, "socketpair");
	pid_t p = fork();
	check(p >= 0, "fork");
	if (!p) {
		close(s[0]);
		echo(s[1], s[1]);
	}
	close(s[1]);
	through(s[0], s[0], p);
}
static void tcp(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof a;
	int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), s;
	check(l >= 0 && bind(l, (void *)&a, sizeof a) == 0 && listen(l, 4) == 0 && getsockname(l, (void *)&a, &size) == 0, "listen");
	pid_t p = fork();
	check(p >= 0, "fork");
	if (!p) {
		s = accept(l, NULL, NULL);
		check(s >= 0, "accept");
		close(l);
		echo(s, s);
	}
	close(l);
	s = socket(AF_INET, SOCK_STREAM, 0);
	check(s >= 0 && connect(s, (void *)&a, sizeof a) == 0, "connect");
	through(s, s, p);
}

/* Threads: a counter under a mutex, a condition that hands over. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turned = PTHREAD_COND_INITIALIZER;
static int counter, turn;
static void *counting(void *v)
{
	int n = (intptr_t)v;
	for (int i = 0; i < 200; i++) {
		pthread_mutex_lock(&lock);
		counter++;
		pthread_mutex_unlock(&lock);
	}
	pthread_mutex_lock(&lock);
	while (turn != n)
		pthread_cond_wait(&turned, &lock);
	turn++;
	pthread_cond_broadcast(&turned);
	pthread_mutex_unlock(&lock);
	return v;
}
static void threads(void)
{
	pthread_t t[8];
	int n = 1 + rnd() % 8;
	counter = turn = 0;
	for (int i = 0; i < n; i++)
		check(pthread_create(&t[i], NULL, counting, (void *)(intptr_t)i) == 0, "pthread_create");
	for (int i = 0; i < n; i++) {
		void *v;
		check(pthread_join(t[i], &v) == 0 && (intptr_t)v == i, "pthread_join");
	}
	check(counter == 200 * n && turn == n, "counter %d and turn %d of %d threads", counter, turn, n);
}

/* Files: written, moved, mapped, read back, gone. */
static void files(void)
{
	static char data[40000], back[40000];
	size_t n = 1 + rnd() % sizeof data;
	for (size_t i = 0; i < n; i++)
		data[i] = rnd();
	check(mkdir("d", 0700) == 0, "mkdir");
	int f = open("d/a", O_RDWR | O_CREAT | O_EXCL, 0600);
	check(f >= 0 && write(f, data, n) == (ssize_t)n, "write");
	check(rename("d/a", "b") == 0 && access("d/a", F_OK) < 0 && errno == ENOENT, "rename");
	char *m = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED, f, 0);
	check(m != MAP_FAILED && !memcmp(m, data, n), "the mapping differs from the file");
	m[n / 2] ^= 1, data[n / 2] ^= 1;
	check(pread(f, back, n, 0) == (ssize_t)n && !memcmp(back, data, n), "the file differs from the mapping");
	check(munmap(m, n) == 0 && ftruncate(f, n / 2) == 0 && lseek(f, 0, SEEK_END) == (off_t)(n / 2), "ftruncate");
	check(unlink("b") == 0 && rmdir("d") == 0 && close(f) == 0, "unlink");
}

/* Events: timers and counters through epoll. */
static void events(void)
{
	int ep = epoll_create1(0), tf = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK), ef = eventfd(0, EFD_NONBLOCK);
	check(ep >= 0 && tf >= 0 && ef >= 0, "descriptors");
	struct epoll_event e = { .events = EPOLLIN, .data.fd = tf };
	check(epoll_ctl(ep, EPOLL_CTL_ADD, tf, &e) == 0, "epoll_ctl");
	e.data.fd = ef;
	check(epoll_ctl(ep, EPOLL_CTL_ADD, ef, &e) == 0, "epoll_ctl");
	struct itimerspec when = { .it_value.tv_nsec = 1 + rnd() % 3000000 };
	check(timerfd_settime(tf, 0, &when, NULL) == 0, "timerfd_settime");
	uint64_t v = 1 + rnd() % 9, r;
	check(write(ef, &v, 8) == 8, "eventfd");
	int seen = 0;
	while (seen != 3) {
		check(epoll_wait(ep, &e, 1, 60000) == 1, "epoll_wait: no event for a minute, seen %d", seen);
		check(read(e.data.fd, &r, 8) == 8 && r == (e.data.fd == ef ? v : 1), "read %llu", (unsigned long long)r);
		seen |= e.data.fd == ef ? 1 : 2;
	}
	close(ep), close(tf), close(ef);
}

/* Stops: a child that is stopped, continued and killed says so each time. */
static void stops(void)
{
	pid_t p = fork();
	int st;
	check(p >= 0, "fork");
	if (!p)
		for (;;)
			pause();
	check(kill(p, SIGSTOP) == 0 && waitpid(p, &st, WUNTRACED) == p && WIFSTOPPED(st), "stop: %#x", st);
	check(kill(p, SIGCONT) == 0 && waitpid(p, &st, WCONTINUED) == p && WIFCONTINUED(st), "continue: %#x", st);
	check(kill(p, SIGKILL) == 0 && waitpid(p, &st, 0) == p && WIFSIGNALED(st) && WTERMSIG(st) == SIGKILL, "kill: %#x", st);
}

static const struct { const char *name; void (*round)(void); } workers[] = {
	{ "forks", forks }, { "programs", programs }, { "queued", queued }, { "memory", memory }, { "pipes", pipes }, { "unix", unix_sockets },
	{ "tcp", tcp }, { "threads", threads }, { "files", files }, { "events", events }, { "stops", stops }, { "memory2", memory }, { "forks2", forks },
};
enum { WORKERS = sizeof workers / sizeof workers[0] };

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "--sum")) {
		long long total = 0;
		for (int i = atoi(argv[2]); i > 0; i--)
			total += i;
		printf("%lld\n", total);
		return 0;
	}
	int seconds = argc > 1 ? atoi(argv[1]) : 0;
	uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;
	if (seconds < 1) {
		fprintf(stderr, "usage: stress SECONDS [SEED]\n");
		return 2;
	}
	self = realpath(argv[0], NULL);
	me = "stress";
	check(self != NULL, "%s", argv[0]);
	volatile uint64_t *rounds = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check(rounds != MAP_FAILED, "mmap");
	struct timespec begin, now;
	clock_gettime(CLOCK_MONOTONIC, &begin);
	pid_t pid[WORKERS];
	for (int i = 0; i < WORKERS; i++) {
		pid[i] = fork();
		check(pid[i] >= 0, "fork");
		if (pid[i])
			continue;
		me = workers[i].name;
		state = (seed + 1) * 0x9e3779b97f4a7c15ull + i * 0xbf58476d1ce4e5b9ull + 1;
		char folder[64];
		sprintf(folder, "/tmp/stress.%s", me);
		check((mkdir(folder, 0700) == 0 || errno == EEXIST) && chdir(folder) == 0, "%s", folder);
		signal(SIGPIPE, SIG_IGN);
		for (;;) {
			workers[i].round();
			rounds[i]++;
			clock_gettime(CLOCK_MONOTONIC, &now);
			if (now.tv_sec - begin.tv_sec >= seconds)
				_exit(0);
		}
	}
	uint64_t last[WORKERS] = { 0 };
	time_t moved[WORKERS];
	for (int i = 0; i < WORKERS; i++)
		moved[i] = begin.tv_sec;
	for (int left = WORKERS; left;) {
		sigset_t set;
		struct timespec second = { 1, 0 };
		sigemptyset(&set);
		sigaddset(&set, SIGCHLD);
		sigprocmask(SIG_BLOCK, &set, NULL);
		sigtimedwait(&set, NULL, &second);
		int st;
		pid_t p;
		while ((p = waitpid(-1, &st, WNOHANG)) > 0) {
			int i = 0;
			while (i < WORKERS && pid[i] != p)
				i++;
			check(i < WORKERS, "a child that is not ours: %d", p);
			if (st) {
				fprintf(stderr, "%s ended with %#x after %llu rounds, seed %llu\n", workers[i].name, st, (unsigned long long)rounds[i], (unsigned long long)seed);
				return 1;
			}
			pid[i] = 0;
			left--;
		}
		clock_gettime(CLOCK_MONOTONIC, &now);
		for (int i = 0; i < WORKERS; i++) {
			if (rounds[i] != last[i])
				last[i] = rounds[i], moved[i] = now.tv_sec;
			if (pid[i] && now.tv_sec - moved[i] > 120) {
				fprintf(stderr, "%s hangs after %llu rounds, seed %llu\n", workers[i].name, (unsigned long long)rounds[i], (unsigned long long)seed);
				return 2;
			}
		}
	}
	for (int i = 0; i < WORKERS; i++) {
		printf("%s %llu\n", workers[i].name, (unsigned long long)rounds[i]);
		if (!rounds[i])
			return 2;
	}
	printf("no wrong result\n");
	return 0;
}
