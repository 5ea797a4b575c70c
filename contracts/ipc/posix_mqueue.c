/*
 * ipc/posix_mqueue: POSIX message queues: priorities, limits, waiting.
 *
 * Catches: order by priority wrong, queues that are not limited, notification missing.
 */
#include "contract.h"
#include <mqueue.h>

int main(void)
{
	struct mq_attr a = { .mq_maxmsg = 3, .mq_msgsize = 16 }, got;
	char b[16];
	unsigned prio;
	mqd_t q = must(mq_open("/contract", O_RDWR | O_CREAT | O_EXCL | O_NONBLOCK, 0600, &a));
	must(mq_send(q, "low", 4, 1));
	must(mq_send(q, "high", 5, 9));
	must(mq_send(q, "low too", 8, 1));
	fails(mq_send(q, "x", 2, 1), EAGAIN);
	must(mq_getattr(q, &got));
	observe("attributes: %ld %ld %ld", got.mq_maxmsg, got.mq_msgsize, got.mq_curmsgs);
	for (int i = 0; i < 3; i++) {
		ssize_t n = mq_receive(q, b, sizeof b, &prio);
		observe("%s: %s priority %u", result(n), b, prio);
	}
	fails(mq_receive(q, b, sizeof b, &prio), EAGAIN);
	fails(mq_receive(q, b, 3, &prio), EMSGSIZE);
	fails(mq_send(q, "far too long for this queue", 28, 1), EMSGSIZE);
	must(mq_unlink("/contract"));
	fails(mq_open("/contract", O_RDWR), ENOENT);
	return contract_end();
}
