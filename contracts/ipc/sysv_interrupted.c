/*
 * ipc/sysv_interrupted: System V calls that wait are never restarted after a handler, whatever SA_RESTART says (signal(7)).
 *
 * Catches: a restart where EINTR is promised, an operation that was interrupted and is done all the same, waiters that stay counted.
 */
#include "contract.h"
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>

static void handler(int s) { (void)s; }

static pid_t interrupter(void)
{
	pid_t parent = getpid(), p = must(fork());
	if (p == 0) {
		wait_until(asleep(parent, parent));
		kill(parent, SIGUSR1);
		_exit(0);
	}
	return p;
}

int main(void)
{
	struct sigaction a = { .sa_handler = handler, .sa_flags = SA_RESTART };
	struct {
		long type;
		char text[8];
	} m = { 1, "x" };
	sigaction(SIGUSR1, &a, NULL);
	int sem = must(semget(IPC_PRIVATE, 1, 0600)), q = must(msgget(IPC_PRIVATE, 0600));
	struct sembuf down = { 0, -1, 0 };
	pid_t p = interrupter();
	fails(semop(sem, &down, 1), EINTR);
	reap(p);
	observe("nobody waits any more: %s", result(semctl(sem, 0, GETNCNT)));
	p = interrupter();
	fails(msgrcv(q, &m, 8, 0, 0), EINTR);
	reap(p);
	struct msqid_ds ds;
	must(msgctl(q, IPC_STAT, &ds));
	ds.msg_qbytes = 1;
	must(msgctl(q, IPC_SET, &ds));
	must(msgsnd(q, &m, 1, 0));
	p = interrupter();
	fails(msgsnd(q, &m, 1, 0), EINTR);
	reap(p);
	must(msgctl(q, IPC_STAT, &ds));
	observe("messages: %lu", ds.msg_qnum);
	struct timespec t = { 0, 20000000 }, bad = { 0, -1 };
	long long b = clock_ns(CLOCK_MONOTONIC);
	fails(semtimedop(sem, &down, 1, &t), EAGAIN);
	require(clock_ns(CLOCK_MONOTONIC) - b >= 20000000, "semtimedop waits its time");
	fails(semtimedop(sem, &down, 1, &bad), EINVAL);
	must(semctl(sem, 0, IPC_RMID));
	must(msgctl(q, IPC_RMID, NULL));
	return contract_end();
}
