/*
 * ipc/mqueue_wait: POSIX message queues between processes: waiting, timeouts, order, poll.
 *
 * Catches: timeouts taken as relative, receivers that miss a message, order by priority lost when several wait, readiness not told to poll.
 */
#include "contract.h"
#include <mqueue.h>
#include <poll.h>

static struct timespec from_now(long ms)
{
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_nsec += ms * 1000000;
	t.tv_sec += t.tv_nsec / 1000000000;
	t.tv_nsec %= 1000000000;
	return t;
}

int main(void)
{
	struct mq_attr a = { .mq_maxmsg = 2, .mq_msgsize = 32 };
	char b[32];
	unsigned prio;
	mqd_t q = must(mq_open("/wait", O_RDWR | O_CREAT | O_EXCL, 0600, &a));
	fails(mq_open("/wait", O_RDWR | O_CREAT | O_EXCL, 0600, &a), EEXIST);
	struct timespec t = from_now(30), past = { 1, 0 }, bad = { 1, 1000000000 };
	fails(mq_timedreceive(q, b, 32, NULL, &t), ETIMEDOUT);
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	require(now.tv_sec > t.tv_sec || (now.tv_sec == t.tv_sec && now.tv_nsec >= t.tv_nsec), "waits until the time");
	fails(mq_timedreceive(q, b, 32, NULL, &past), ETIMEDOUT);
	fails(mq_timedreceive(q, b, 32, NULL, &bad), EINVAL);
	struct pollfd p = { q, POLLIN | POLLOUT, 0 };
	observe("empty: poll %d, in %d out %d", poll(&p, 1, 0), !!(p.revents & POLLIN), !!(p.revents & POLLOUT));
	must(mq_send(q, "a", 2, 3));
	observe("one: poll %d, in %d out %d", poll(&p, 1, 0), !!(p.revents & POLLIN), !!(p.revents & POLLOUT));
	must(mq_send(q, "b", 2, 3));
	observe("full: poll %d, in %d out %d", poll(&p, 1, 0), !!(p.revents & POLLIN), !!(p.revents & POLLOUT));
	observe("a message is there, past time: %s", result(mq_timedreceive(q, b, 32, &prio, &past)));
	observe("  %s %u", b, prio);
	must(mq_send(q, "c", 2, 30));
	t = from_now(20);
	fails(mq_timedsend(q, "d", 2, 1, &t), ETIMEDOUT);
	pid_t child = must(fork());
	if (child == 0)
		_exit(mq_send(q, "from the child", 15, 32767) == 0 ? 0 : errno);
	wait_until(asleep(child, child));
	observe("first: %s %s", result(mq_receive(q, b, 32, NULL)), b);
	observe("sender: %s", reap(child));
	observe("then: %s %s", result(mq_receive(q, b, 32, NULL)), b);
	observe("then: %s %s", result(mq_receive(q, b, 32, NULL)), b);
	fails(mq_send(q, "x", 1, 32768), EINVAL);
	child = must(fork());
	if (child == 0) {
		struct pollfd in = { q, POLLIN, 0 };
		int n = poll(&in, 1, 10000);
		_exit(n == 1 && mq_receive(q, b, 32, NULL) == 4 && !strcmp(b, "hey") ? 0 : 1);
	}
	wait_until(asleep(child, child));
	must(mq_send(q, "hey", 4, 0));
	observe("poller: %s", reap(child));
	must(mq_unlink("/wait"));
	fails(mq_unlink("/wait"), ENOENT);
	observe("still usable: %s", result(mq_send(q, "", 0, 0)));
	observe("an empty message: %s", result(mq_receive(q, b, 32, NULL)));
	must(mq_close(q));
	fails(mq_send(q, "x", 1, 0), EBADF);
	fails(mq_send(1, "x", 1, 0), EBADF);
	return contract_end();
}
