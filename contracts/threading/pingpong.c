/*
 * threading/pingpong: two threads wake each other thousands of times, by futex, pipe, eventfd and signal.
 *
 * Catches: wake-ups lost between the check and the sleep, on one processor and on two.
 */
#include "contract.h"
#include <linux/futex.h>
#include <pthread.h>
#include <sys/eventfd.h>

enum { ROUNDS = 1000 };
static int word, ping[2], pong[2], ea, eb;
static pid_t main_tid, other_tid;
static sigset_t set;

static void futex_turn(int mine, int next)
{
	while (__atomic_load_n(&word, __ATOMIC_ACQUIRE) != mine)
		syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, next, NULL, NULL, 0);
	__atomic_store_n(&word, next, __ATOMIC_RELEASE);
	syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void *other(void *x)
{
	char c;
	uint64_t v = 1;
	int s;
	__atomic_store_n(&other_tid, gettid(), __ATOMIC_SEQ_CST);
	for (int i = 0; i < ROUNDS; i++)
		futex_turn(1, 0);
	for (int i = 0; i < ROUNDS; i++) {
		must(read(ping[0], &c, 1));
		must(write(pong[1], &c, 1));
	}
	for (int i = 0; i < ROUNDS; i++) {
		must(read(ea, &v, 8));
		v = 1;
		must(write(eb, &v, 8));
	}
	for (int i = 0; i < ROUNDS; i++) {
		sigwait(&set, &s);
		syscall(SYS_tgkill, getpid(), main_tid, SIGUSR1);
	}
	return x;
}

int main(void)
{
	pthread_t t;
	char c = 'x';
	uint64_t v = 1;
	int s;
	must(pipe(ping));
	must(pipe(pong));
	ea = must(eventfd(0, 0)), eb = must(eventfd(0, 0));
	main_tid = gettid();
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	pthread_create(&t, NULL, other, NULL);
	wait_until(__atomic_load_n(&other_tid, __ATOMIC_SEQ_CST));
	for (int i = 0; i < ROUNDS; i++)
		futex_turn(0, 1);
	observe("futex: %d rounds", ROUNDS);
	for (int i = 0; i < ROUNDS; i++) {
		must(write(ping[1], &c, 1));
		must(read(pong[0], &c, 1));
	}
	observe("pipe: %d rounds", ROUNDS);
	for (int i = 0; i < ROUNDS; i++) {
		v = 1;
		must(write(ea, &v, 8));
		must(read(eb, &v, 8));
	}
	observe("eventfd: %d rounds", ROUNDS);
	for (int i = 0; i < ROUNDS; i++) {
		syscall(SYS_tgkill, getpid(), other_tid, SIGUSR1);
		sigwait(&set, &s);
	}
	observe("signal: %d rounds", ROUNDS);
	pthread_join(t, NULL);
	return contract_end();
}
