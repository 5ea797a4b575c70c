/*
 * events/epoll_modes: level, edge and one-shot; what the calls refuse.
 *
 * Catches: edges reported twice or never, one-shot entries that fire again, closed files that stay in the set, loops of epolls accepted.
 */
#include "contract.h"
#include <sys/epoll.h>

static int ep;

static const char *wait_for(int ms)
{
	static char t[4][64];
	static int k;
	char *b = t[k++ & 3];
	struct epoll_event e[4];
	int n = epoll_wait(ep, e, 4, ms);
	int len = snprintf(b, 64, "%d:", n);
	for (int i = 0; i < n; i++)
		len += snprintf(b + len, 64 - len, " %d/%#x", (int)e[i].data.u32, e[i].events);
	return b;
}

static int control(int op, int fd, uint32_t events)
{
	struct epoll_event e = { .events = events, .data.u64 = fd };
	return epoll_ctl(ep, op, fd, &e);
}

int main(void)
{
	int p[2], q[2];
	ep = must(epoll_create1(EPOLL_CLOEXEC));
	must(pipe2(p, O_NONBLOCK));
	char b[16];

	must(control(EPOLL_CTL_ADD, p[0], EPOLLIN));
	observe("level, empty: %s", wait_for(0));
	write(p[1], "ab", 2);
	observe("level, data: %s, again %s", wait_for(0), wait_for(0));
	read(p[0], b, 1);
	observe("level, some left: %s", wait_for(0));
	read(p[0], b, 1);
	observe("level, drained: %s", wait_for(0));

	must(control(EPOLL_CTL_MOD, p[0], EPOLLIN | EPOLLET));
	write(p[1], "a", 1);
	observe("edge: %s, again %s", wait_for(0), wait_for(0));
	write(p[1], "b", 1);
	observe("edge, more data: %s, again %s", wait_for(0), wait_for(0));
	must(control(EPOLL_CTL_MOD, p[0], EPOLLIN | EPOLLET));
	observe("edge, modified with data there: %s", wait_for(0));
	while (read(p[0], b, 16) > 0)
		;

	must(control(EPOLL_CTL_MOD, p[0], EPOLLIN | EPOLLONESHOT));
	write(p[1], "a", 1);
	observe("one-shot: %s, again %s", wait_for(0), wait_for(0));
	write(p[1], "b", 1);
	observe("one-shot, more data: %s", wait_for(0));
	must(control(EPOLL_CTL_MOD, p[0], EPOLLIN | EPOLLONESHOT));
	observe("armed again: %s", wait_for(0));

	must(control(EPOLL_CTL_ADD, p[1], EPOLLOUT));
	must(control(EPOLL_CTL_MOD, p[0], EPOLLIN));
	struct epoll_event one;
	int first, second;
	epoll_wait(ep, &one, 1, 0);
	first = one.data.u32;
	epoll_wait(ep, &one, 1, 0);
	second = one.data.u32;
	observe("two ready, one asked at a time: both come %d", first != second);
	close(p[1]);
	must(control(EPOLL_CTL_MOD, p[0], 0));
	read(p[0], b, 16);
	observe("hang-up is always reported: %s", wait_for(0));
	must(control(EPOLL_CTL_DEL, p[0], 0));
	observe("deleted: %s", wait_for(0));

	must(pipe(q));
	must(control(EPOLL_CTL_ADD, q[0], EPOLLIN));
	int copy = must(dup(q[0]));
	write(q[1], "x", 1);
	close(q[0]);
	struct epoll_event left;
	observe("closed, but a copy is open: %d", epoll_wait(ep, &left, 1, 0));
	close(copy);
	observe("the last copy closed: %s", wait_for(0));

	must(pipe(q));
	fails(control(EPOLL_CTL_DEL, q[0], 0), ENOENT);
	fails(control(EPOLL_CTL_MOD, q[0], EPOLLIN), ENOENT);
	must(control(EPOLL_CTL_ADD, q[0], EPOLLIN));
	fails(control(EPOLL_CTL_ADD, q[0], EPOLLIN), EEXIST);
	fails(control(EPOLL_CTL_ADD, ep, EPOLLIN), EINVAL);
	fails(control(EPOLL_CTL_ADD, 99, EPOLLIN), EBADF);
	fails(control(EPOLL_CTL_ADD, must(open("f", O_CREAT | O_RDWR, 0600)), EPOLLIN), EPERM);
	fails(control(77, q[1], EPOLLIN), EINVAL);
	fails(epoll_wait(ep, &left, 0, 0), EINVAL);
	fails(epoll_wait(q[0], &left, 1, 0), EINVAL);
#ifdef SYS_epoll_create
	fails(syscall(SYS_epoll_create, 0), EINVAL);
#endif
	fails(epoll_create1(1), EINVAL);

	int outer = must(epoll_create1(0)), inner = ep;
	ep = outer;
	must(control(EPOLL_CTL_ADD, inner, EPOLLIN));
	observe("nested, nothing: %s", wait_for(0));
	write(q[1], "x", 1);
	observe("nested, ready: %d", epoll_wait(outer, &left, 1, 0));
	ep = inner;
	fails(control(EPOLL_CTL_ADD, outer, EPOLLIN), ELOOP);
	return contract_end();
}
