/*
 * ipc/mqueue_notify: mq_notify: once, to one process, for a message that comes to an empty queue that nobody waits at.
 *
 * Catches: a second signal, a signal although somebody receives, registrations that outlive their descriptor, wrong siginfo.
 */
#include "contract.h"
#include <mqueue.h>

static volatile sig_atomic_t fired, code, value;
static volatile pid_t sender;
static void handler(int s, siginfo_t *i, void *c)
{
	(void)s, (void)c;
	fired++;
	code = i->si_code;
	value = i->si_value.sival_int;
	sender = i->si_pid;
}

int main(void)
{
	struct mq_attr a = { .mq_maxmsg = 4, .mq_msgsize = 16 };
	char b[16];
	struct sigaction sa = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO };
	sigaction(SIGUSR1, &sa, NULL);
	mqd_t q = must(mq_open("/notify", O_RDWR | O_CREAT | O_NONBLOCK, 0600, &a));
	struct sigevent e = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = 77 };
	must(mq_notify(q, &e));
	fails(mq_notify(q, &e), EBUSY);
	pid_t p = must(fork());
	if (p == 0) {
		int r = mq_notify(q, &e) == -1 && errno == EBUSY;
		mq_notify(q, NULL); /* not ours: no effect */
		mq_send(q, "one", 4, 1);
		_exit(r ? 0 : 1);
	}
	observe("child: %s", reap(p));
	wait_until(fired);
	observe("fired %d, code %s, value %d, sender %d", fired, code == SI_MESGQ ? "SI_MESGQ" : "?", value, sender == p);
	must(mq_send(q, "two", 4, 1));
	observe("only once: %d", fired);
	must(mq_notify(q, &e));
	must(mq_send(q, "three", 6, 1)); /* the queue is not empty */
	observe("not for a queue with messages: %d", fired);
	for (int i = 0; i < 3; i++)
		must(mq_receive(q, b, 16, NULL));
	must(mq_send(q, "four", 5, 1));
	wait_until(fired == 2);
	must(mq_receive(q, b, 16, NULL));
	observe("after it was emptied: %d", fired);

	/* A receiver that waits gets the message, and nobody a signal. */
	must(mq_notify(q, &e));
	p = must(fork());
	if (p == 0) {
		mqd_t mine = must(mq_open("/notify", O_RDONLY));
		_exit(mq_receive(mine, b, 16, NULL) == 5 ? 0 : 1);
	}
	wait_until(asleep(p, p));
	must(mq_send(q, "five", 5, 1));
	observe("receiver: %s, fired %d", reap(p), fired);
	must(mq_notify(q, NULL));
	must(mq_send(q, "six", 4, 1));
	must(mq_receive(q, b, 16, NULL));
	observe("taken back: %d", fired);

	/* SIGEV_NONE only occupies the place; closing any descriptor of the queue gives it free. */
	e.sigev_notify = SIGEV_NONE;
	must(mq_notify(q, &e));
	mqd_t other = must(mq_open("/notify", O_RDONLY));
	fails(mq_notify(other, &e), EBUSY);
	must(mq_close(other));
	observe("after a close: %s", result(mq_notify(q, &e)));
	e.sigev_notify = 99;
	fails(mq_notify(q, &e), EINVAL);
	e = (struct sigevent){ .sigev_notify = SIGEV_SIGNAL, .sigev_signo = 99 };
	fails(mq_notify(q, &e), EINVAL);
	must(mq_unlink("/notify"));
	return contract_end();
}
