// Threads as libc makes them: create, join, detach, mutex, condition, TLS, robust mutex, exec and exit from a thread.
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t c = PTHREAD_COND_INITIALIZER;
static long counter;
static __thread int tls = 5;
static volatile int handled_by;

static void *add(void *arg) {
	for (int i = 0; i < 2000; i++) { pthread_mutex_lock(&m); counter++; pthread_mutex_unlock(&m); }
	tls += (int)(long)arg;
	return (void *)(long)tls;
}
static int turn;
static void *pingpong(void *arg) {
	int me = (int)(long)arg;
	for (int i = 0; i < 200; i++) {
		pthread_mutex_lock(&m);
		while (turn != me) pthread_cond_wait(&c, &m);
		turn = !me;
		pthread_cond_broadcast(&c);
		pthread_mutex_unlock(&m);
	}
	return 0;
}
static pthread_mutex_t robust;
static void *dies_with_lock(void *arg) { pthread_mutex_lock(&robust); return 0; }
static void on_usr1(int s) { handled_by = syscall(SYS_gettid); }
static sem_t ready, stop;
static void *waiter(void *arg) {
	*(int *)arg = syscall(SYS_gettid);
	sem_post(&ready);
	while (sem_wait(&stop) == -1 && errno == EINTR) {}
	return 0;
}
static void *exits_process(void *arg) { exit(9); }
static void *execs(void *arg) { execl((char *)arg, "threads", "after-exec", NULL); _exit(99); }
static void *sleeper(void *arg) { for (;;) pause(); }

int main(int argc, char **argv) {
	if (argc > 1 && !strcmp(argv[1], "after-exec")) { printf("exec from a thread: tid is pid %d\n", syscall(SYS_gettid) == getpid()); return 4; }
	pthread_t t[4];
	long sum = 0;
	for (long i = 0; i < 4; i++) pthread_create(&t[i], 0, add, (void *)i);
	for (int i = 0; i < 4; i++) { void *r; pthread_join(t[i], &r); sum += (long)r; }
	printf("counter %ld tls sum %ld own %d\n", counter, sum, tls);
	pthread_create(&t[0], 0, pingpong, (void *)0);
	pthread_create(&t[1], 0, pingpong, (void *)1);
	pthread_join(t[0], 0); pthread_join(t[1], 0);
	printf("ping pong done\n");

	pthread_mutexattr_t a;
	pthread_mutexattr_init(&a);
	pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(&robust, &a);
	pthread_create(&t[0], 0, dies_with_lock, 0);
	pthread_join(t[0], 0);
	int r = pthread_mutex_lock(&robust);
	printf("robust: %s\n", r == EOWNERDEAD ? "EOWNERDEAD" : r ? strerror(r) : "locked");
	pthread_mutex_consistent(&robust); pthread_mutex_unlock(&robust);

	struct timespec ts; clock_gettime(CLOCK_REALTIME, &ts); ts.tv_nsec += 20000000; if (ts.tv_nsec >= 1000000000) { ts.tv_nsec -= 1000000000; ts.tv_sec++; }
	pthread_mutex_lock(&m); r = pthread_cond_timedwait(&c, &m, &ts); pthread_mutex_unlock(&m);
	printf("timedwait %d\n", r == ETIMEDOUT);

	struct sigaction sa = {.sa_handler = on_usr1}; sigaction(SIGUSR1, &sa, 0);
	sem_init(&ready, 0, 0); sem_init(&stop, 0, 0);
	int tid; pthread_create(&t[0], 0, waiter, &tid); sem_wait(&ready);
	pthread_kill(t[0], SIGUSR1);
	while (!handled_by) usleep(1000);
	printf("pthread_kill reached its thread %d\n", handled_by == tid);
	sigset_t s; sigemptyset(&s); sigaddset(&s, SIGUSR1); pthread_sigmask(SIG_BLOCK, &s, 0);
	handled_by = 0; kill(getpid(), SIGUSR1);
	while (!handled_by) usleep(1000);
	printf("blocked signal went to the other thread %d\n", handled_by == tid);
	sem_post(&stop); pthread_join(t[0], 0);

	fflush(stdout);
	int st; pid_t p = fork();
	if (!p) { pthread_create(&t[0], 0, sleeper, 0); pthread_create(&t[1], 0, exits_process, 0); for (;;) pause(); }
	waitpid(p, &st, 0); printf("exit from a thread: %d %d\n", WIFEXITED(st), WEXITSTATUS(st));
	fflush(stdout);
	p = fork();
	if (!p) { pthread_create(&t[0], 0, sleeper, 0); pthread_create(&t[1], 0, execs, argv[0]); for (;;) pause(); }
	waitpid(p, &st, 0); printf("exec from a thread: exited %d status %d\n", WIFEXITED(st), WEXITSTATUS(st));
	p = fork();
	if (!p) { pthread_create(&t[0], 0, sleeper, 0); pthread_exit(0); }
	usleep(20000); kill(p, SIGTERM);
	waitpid(p, &st, 0); printf("leader gone, killed: %d %d\n", WIFSIGNALED(st), WTERMSIG(st));
	return 0;
}
