/*
 * ipc/sysv_messages: System V message queues in detail.
 *
 * Catches: types chosen wrongly, text cut without being asked, waiting senders and receivers that are not woken, removal that leaves them asleep,
 * counters and times that are not kept.
 */
#include "contract.h"
#include <sys/ipc.h>
#include <sys/msg.h>

struct message {
	long type;
	char text[64];
};

static int queue(void) { return must(msgget(IPC_PRIVATE, IPC_CREAT | 0600)); }

static ssize_t take(int q, struct message *m, size_t n, long type, int flags)
{
	memset(m, 0, sizeof *m);
	return msgrcv(q, m, n, type, flags);
}

int main(void)
{
	struct message m = { 7, "seven" }, in;
	struct msqid_ds ds;
	int q = queue();
	must(msgctl(q, IPC_STAT, &ds));
	observe("new: messages %lu, bytes %lu, most %lu, times %d %d %d, mode %o", ds.msg_qnum, ds.msg_cbytes, ds.msg_qbytes, ds.msg_stime != 0, ds.msg_rtime != 0,
		ds.msg_ctime != 0, ds.msg_perm.mode);
	fails(msgsnd(q, &(struct message){ 0, "" }, 1, 0), EINVAL);
	fails(msgsnd(q, &(struct message){ -1, "" }, 1, 0), EINVAL);
	fails(msgsnd(q, &m, 100000, 0), EINVAL);
	fails(msgsnd(q, &m, (size_t)-1, 0), EINVAL);
	fails(msgsnd(q, NULL, 1, 0), EFAULT);
	fails(msgsnd(-1, &m, 1, 0), EINVAL);
	observe("an empty message: %s", result(msgsnd(q, &m, 0, 0)));
	must(msgsnd(q, &m, 6, 0));
	must(msgctl(q, IPC_STAT, &ds));
	observe("two: messages %lu, bytes %lu, by me %d", ds.msg_qnum, ds.msg_cbytes, ds.msg_lspid == getpid());
	observe("the empty one: %s", result(take(q, &in, 64, 0, 0)));
	fails(take(q, &in, 2, 0, 0), E2BIG);
	must(msgctl(q, IPC_STAT, &ds));
	observe("still there: %lu", ds.msg_qnum);
	observe("cut: %s %s", result(take(q, &in, 2, 0, MSG_NOERROR)), in.text);
	fails(take(q, &in, 64, 0, IPC_NOWAIT), ENOMSG);
	must(msgctl(q, IPC_STAT, &ds));
	observe("received by me %d, bytes %lu", ds.msg_lrpid == getpid(), ds.msg_cbytes);

	for (long t = 1; t <= 5; t++)
		must(msgsnd(q, &(struct message){ t, { '0' + t } }, 2, 0));
	observe("except 1: %s %s", result(take(q, &in, 64, 1, MSG_EXCEPT)), in.text);
	observe("at most 4: %s %s", result(take(q, &in, 64, -4, 0)), in.text);
	observe("type 5: %s %s", result(take(q, &in, 64, 5, 0)), in.text);
	observe("at most 4: %s %s", result(take(q, &in, 64, -4, 0)), in.text);
	fails(take(q, &in, 64, -3, IPC_NOWAIT), ENOMSG);
	must(msgctl(q, IPC_RMID, NULL));

	/* A full queue: the sender waits until there is room. */
	q = queue();
	must(msgctl(q, IPC_STAT, &ds));
	ds.msg_qbytes = 10;
	must(msgctl(q, IPC_SET, &ds));
	must(msgsnd(q, &m, 6, 0));
	fails(msgsnd(q, &m, 6, IPC_NOWAIT), EAGAIN);
	pid_t p = must(fork());
	if (p == 0)
		_exit(msgsnd(q, &(struct message){ 9, "late" }, 5, 0) == 0 ? 0 : errno);
	wait_until(asleep(p, p));
	observe("room: %s", result(take(q, &in, 64, 0, 0)));
	observe("sender: %s, then %s", reap(p), result(take(q, &in, 64, 9, 0)));
	p = must(fork());
	if (p == 0) {
		int r = take(q, &in, 64, 3, 0);
		_exit(r == 5 && !strcmp(in.text, "here") ? 0 : 1);
	}
	wait_until(asleep(p, p));
	must(msgsnd(q, &(struct message){ 4, "not" }, 4, 0));
	must(msgsnd(q, &(struct message){ 3, "here" }, 5, 0));
	observe("a receiver of type 3: %s", reap(p));
	p = must(fork());
	if (p == 0)
		_exit(take(q, &in, 64, 8, 0) == -1 && errno == EIDRM ? 0 : 1);
	wait_until(asleep(p, p));
	must(msgctl(q, IPC_RMID, NULL));
	observe("a receiver of a removed queue: %s", reap(p));
	fails(take(q, &in, 64, 0, 0), EINVAL);
	fails(msgctl(q, IPC_RMID, NULL), EINVAL);
	return contract_end();
}
