/*
 * events/epoll_forms: nesting, exclusive and one-shot interests, and what cannot be watched.
 *
 * Catches: loops of instances, a one-shot interest that fires twice, changes of an exclusive one, files that are always ready accepted, interests that stay
 * after the last close.
 */
#include "contract.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <poll.h>

static int add(int ep, int fd, unsigned events)
{
	struct epoll_event e = { .events = events, .data.fd = fd };
	return epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
}

static const char *ready(int ep)
{
	static char b[4][64];
	static int next;
	char *p = b[next++ & 3];
	struct epoll_event e[8];
	int n = epoll_wait(ep, e, 8, 0);
	snprintf(p, 64, n < 0 ? "error" : n ? "%d, first %#x" : "none", n, n > 0 ? e[0].events : 0);
	return p;
}

int main(void)
{
	struct epoll_event e = { .events = EPOLLIN };
	int a = must(epoll_create1(EPOLL_CLOEXEC)), b = must(epoll_create1(0)), ev = must(eventfd(0, EFD_NONBLOCK));
	uint64_t one = 1;
	/* What cannot be watched. */
	fails(add(a, must(open("file", O_CREAT | O_RDWR, 0600)), EPOLLIN), EPERM);
	fails(add(a, must(open(".", O_RDONLY)), EPOLLIN), EPERM);
	fails(add(a, must(open("/dev/null", O_RDWR)), EPOLLIN), EPERM);
	fails(add(a, must(open("/dev/zero", O_RDWR)), EPOLLIN), EPERM);
	fails(add(a, must(open("/proc/self/stat", O_RDONLY)), EPOLLIN), EPERM);
	fails(add(a, must(open(".", O_PATH)), EPOLLIN), EBADF);
	fails(add(a, a, EPOLLIN), EINVAL);
	fails(add(ev, a, EPOLLIN), EINVAL);
	fails(add(a, 999, EPOLLIN), EBADF);
	fails(epoll_ctl(a, 99, ev, &e), EINVAL);
	fails(epoll_ctl(a, EPOLL_CTL_MOD, ev, &e), ENOENT);
	fails(epoll_ctl(a, EPOLL_CTL_DEL, ev, NULL), ENOENT);
	fails(epoll_ctl(a, EPOLL_CTL_ADD, ev, NULL), EFAULT);
	fails(epoll_wait(a, &e, 0, 0), EINVAL);
	fails(epoll_create1(1), EINVAL);
	/* Nesting. */
	must(add(a, b, EPOLLIN));
	fails(add(b, a, EPOLLIN), ELOOP);
	must(add(b, ev, EPOLLIN));
	observe("nested, quiet: %s", ready(a));
	must(write(ev, &one, 8));
	observe("nested, ready: %s", ready(a));
	struct pollfd p = { a, POLLIN, 0 };
	observe("by poll: %s", result(poll(&p, 1, 0)));
	int depth[8], last = b;
	int n = 0;
	for (; n < 8; n++) {
		depth[n] = must(epoll_create1(0));
		if (add(depth[n], last, EPOLLIN) == -1)
			break;
		last = depth[n];
	}
	observe("depth: bounded %d, %s", n > 2 && n < 8, errno_name(errno));
	/* One shot. */
	int c = must(epoll_create1(0));
	must(add(c, ev, EPOLLIN | EPOLLONESHOT));
	observe("one shot: %s, then %s", ready(c), ready(c));
	e.events = EPOLLIN | EPOLLONESHOT;
	must(epoll_ctl(c, EPOLL_CTL_MOD, ev, &e));
	observe("armed again: %s, then %s", ready(c), ready(c));
	fails(add(c, ev, EPOLLIN), EEXIST);
	/* Exclusive. */
	int x = must(epoll_create1(0));
	must(add(x, ev, EPOLLIN | EPOLLEXCLUSIVE));
	observe("exclusive: %s", ready(x));
	fails(epoll_ctl(x, EPOLL_CTL_MOD, ev, &e), EINVAL);
	int y = must(epoll_create1(0));
	fails(add(y, b, EPOLLIN | EPOLLEXCLUSIVE), EINVAL);
	fails(add(y, ev, EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT), EINVAL);
	must(add(y, ev, EPOLLIN));
	e.events = EPOLLIN | EPOLLEXCLUSIVE;
	fails(epoll_ctl(y, EPOLL_CTL_MOD, ev, &e), EINVAL);
	/* Descriptors and descriptions: the interest lives as long as the file. */
	int d = must(dup(ev));
	must(epoll_ctl(y, EPOLL_CTL_DEL, ev, NULL));
	must(add(y, d, EPOLLIN));
	must(add(y, ev, EPOLLIN));
	observe("a file under two numbers: %s", ready(y));
	close(d);
	observe("one closed: %s", ready(y));
	/* No events: errors and hang-ups are told all the same. */
	int q[2];
	must(pipe(q));
	must(add(c, q[0], 0));
	observe("nothing asked: %s", ready(c));
	close(q[1]);
	observe("hung up: %s", ready(c));
	close(q[0]);
	observe("closed: %s", ready(c));
	/* Edges. */
	int z = must(epoll_create1(0));
	must(add(z, ev, EPOLLIN | EPOLLET));
	observe("edge: %s, then %s", ready(z), ready(z));
	must(write(ev, &one, 8));
	observe("written again: %s", ready(z));
	return contract_end();
}
