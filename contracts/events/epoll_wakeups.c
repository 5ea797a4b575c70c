/*
 * events/epoll_wakeups: sleepers in epoll_wait are woken by what happens elsewhere.
 *
 * Catches: lost wake-ups between the check and the sleep, entries added while somebody sleeps, timeouts in the wrong unit.
 */
#include "contract.h"
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

static int ep, p[2];
static volatile pid_t sleeper;
static volatile int got;

static void *sleep_in_epoll(void *x)
{
	struct epoll_event e;
	sleeper = gettid();
	int n = epoll_wait(ep, &e, 1, 10000);
	got = n == 1 ? (int)e.data.u32 : -1;
	return x;
}

int main(void)
{
	struct epoll_event e = { .events = EPOLLIN };
	pthread_t t;
	ep = must(epoll_create1(0));
	must(pipe(p));
	e.data.u32 = 1;
	must(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &e));
	pthread_create(&t, NULL, sleep_in_epoll, NULL);
	wait_until(sleeper && asleep(getpid(), sleeper));
	write(p[1], "x", 1);
	pthread_join(t, NULL);
	observe("woken by data: %d", got);
	char c;
	read(p[0], &c, 1);

	sleeper = 0;
	int ev = must(eventfd(1, 0)); /* ready already */
	pthread_create(&t, NULL, sleep_in_epoll, NULL);
	wait_until(sleeper && asleep(getpid(), sleeper));
	e.data.u32 = 2;
	must(epoll_ctl(ep, EPOLL_CTL_ADD, ev, &e));
	pthread_join(t, NULL);
	observe("woken by an entry that was added ready: %d", got);
	require(got == 2, "additions wake");
	must(epoll_ctl(ep, EPOLL_CTL_DEL, ev, NULL));

	long long begin = clock_ns(CLOCK_MONOTONIC);
	observe("timeout: %d", epoll_wait(ep, &e, 1, 40));
	long long took = clock_ns(CLOCK_MONOTONIC) - begin;
	require(took >= 40000000, "not before its time: %lld ns", took);

	/* Ping-pong between two processes, each asleep in epoll: a lost wake-up would hang. */
	int a = must(eventfd(0, 0)), b = must(eventfd(0, 0));
	enum { ROUNDS = 200 };
	pid_t child = must(fork());
	int mine = child ? a : b, other = child ? b : a;
	int set = must(epoll_create1(0));
	e.data.u32 = 3;
	must(epoll_ctl(set, EPOLL_CTL_ADD, mine, &e));
	uint64_t v = 1;
	if (child)
		write(other, &v, 8);
	for (int i = 0; i < ROUNDS; i++) {
		require(epoll_wait(set, &e, 1, 10000) == 1, "round %d: nobody woke me", i);
		read(mine, &v, 8);
		v = 1;
		write(other, &v, 8);
	}
	if (!child)
		_exit(0);
	observe("%d rounds: child %s", ROUNDS, reap(child));
	return contract_end();
}
