/*
 * events/ppoll_masks: signal masks and timeouts of ppoll, pselect and epoll_pwait.
 *
 * Catches: a mask that is not put back, a signal taken between mask and sleep, a timeout written back wrongly or not at all, limits of select.
 */
#include "contract.h"
#include <poll.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/select.h>

static volatile sig_atomic_t hits;
static void on(int s) { (void)s, hits++; }

static int blocked(int sig)
{
	sigset_t s;
	sigprocmask(SIG_SETMASK, NULL, &s);
	return sigismember(&s, sig);
}

int main(void)
{
	sigset_t none, usr1;
	struct timespec zero = { 0, 0 }, long_ = { 100, 0 }, bad = { 0, 1000000000 }, negative = { -1, 0 };
	struct timeval tv = { 5, 0 };
	sigemptyset(&none), sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	sigprocmask(SIG_BLOCK, &usr1, NULL);
	struct sigaction sa = { .sa_handler = on, .sa_flags = SA_RESTART };
	sigaction(SIGUSR1, &sa, NULL);
	int p[2];
	must(pipe(p));
	struct pollfd f[2] = { { p[0], POLLIN, 0 }, { -1, POLLIN, 7 } };
	raise(SIGUSR1);
	fails(ppoll(f, 2, &long_, &none), EINTR);
	observe("taken %d, blocked again %d", hits, blocked(SIGUSR1));
	raise(SIGUSR1);
	observe("ready at once: %s", result(ppoll(f, 2, &zero, NULL)));
	observe("ignored entry: revents %d", f[1].revents);
	must(write(p[1], "x", 1));
	observe("data and a signal: %s, hits %d", result(ppoll(f, 2, &long_, &none)), hits);
	fails(ppoll(f, 1, &bad, NULL), EINVAL);
	fails(ppoll(f, 1, &negative, NULL), EINVAL);
	fails(poll((void *)8, 1, 0), EFAULT);
	fails(poll(f, 5000, 0), EINVAL); /* RLIMIT_NOFILE */
	f[0].fd = 900;
	observe("closed descriptor: %s, %#x", result(poll(f, 1, -1)), f[0].revents);
	/* pselect */
	fd_set r, w, e;
	FD_ZERO(&r); FD_SET(p[0], &r);
	sigset_t pending;
	sigpending(&pending);
	if (!sigismember(&pending, SIGUSR1))
		raise(SIGUSR1);
	FD_CLR(p[0], &r);
	hits = 0;
	fails(pselect(p[0] + 1, &r, NULL, NULL, &long_, &none), EINTR);
	observe("pselect took %d", hits);
	FD_ZERO(&r); FD_SET(p[0], &r); FD_SET(p[1], &r);
	FD_ZERO(&w); FD_SET(p[1], &w);
	FD_ZERO(&e); FD_SET(p[0], &e);
	int top = p[1] + 1;
	observe("select: %s, read %d write %d except %d", result(select(top, &r, &w, &e, &tv)), FD_ISSET(p[0], &r), FD_ISSET(p[1], &w), FD_ISSET(p[0], &e));
	observe("time left: %d", tv.tv_sec == 4 || tv.tv_sec == 5);
	fails(select(-1, &r, NULL, NULL, &tv), EINVAL);
	tv = (struct timeval){ -1, 0 };
	fails(select(0, NULL, NULL, NULL, &tv), EINVAL);
	FD_ZERO(&r); FD_SET(200, &r);
	tv = (struct timeval){ 0, 0 };
	int dup200 = must(dup2(p[0], 200));
	close(dup200);
	fails(select(201, &r, NULL, NULL, &tv), EBADF);
	tv = (struct timeval){ 0, 20000 };
	long long begin = clock_ns(CLOCK_MONOTONIC);
	observe("nothing to wait for: %s", result(select(0, NULL, NULL, NULL, &tv)));
	observe("not early: %d, left %ld.%06ld", clock_ns(CLOCK_MONOTONIC) - begin >= 20000000, (long)tv.tv_sec, (long)tv.tv_usec);
	/* epoll_pwait */
	int ep = must(epoll_create1(0));
	struct epoll_event ev;
	raise(SIGUSR1);
	hits = 0;
	fails(epoll_pwait(ep, &ev, 1, -1, &none), EINTR);
	observe("epoll_pwait took %d, blocked again %d", hits, blocked(SIGUSR1));
	fails(syscall(SYS_epoll_pwait, ep, &ev, 1, 0, &none, 4), EINVAL);
	fails(syscall(SYS_ppoll, f, 1, &zero, &none, 4), EINVAL);
	return contract_end();
}
