/*
 * ipc/sysv: System V shared memory, semaphores and message queues.
 *
 * Catches: semaphore operations that are not atomic as a whole, SEM_UNDO ignored, messages taken by the wrong type, memory lost at detach.
 */
#include "contract.h"
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

struct message {
	long type;
	char text[16];
};

int main(void)
{
	int shm = must(shmget(IPC_PRIVATE, 8192, IPC_CREAT | 0600));
	char *m = must(shmat(shm, NULL, 0));
	pid_t p = must(fork());
	if (p == 0) {
		strcpy(m + 4096, "from the child");
		_exit(0);
	}
	reap(p);
	struct shmid_ds ds;
	must(shmctl(shm, IPC_STAT, &ds));
	observe("shared: %s, attached %d, size %d", m + 4096, (int)ds.shm_nattch, (int)ds.shm_segsz);
	must(shmctl(shm, IPC_RMID, NULL));
	observe("removed but attached: %s", m + 4096);
	must(shmdt(m));
	fails(shmctl(shm, IPC_STAT, &ds), EINVAL);
	fails(shmdt(m), EINVAL);

	int sem = must(semget(IPC_PRIVATE, 2, IPC_CREAT | 0600));
	must(semctl(sem, 0, SETVAL, 1));
	struct sembuf both[2] = { { 0, -1, IPC_NOWAIT }, { 1, -1, IPC_NOWAIT } };
	fails(semop(sem, both, 2), EAGAIN);
	observe("nothing taken: %s %s", result(semctl(sem, 0, GETVAL)), result(semctl(sem, 1, GETVAL)));
	p = must(fork());
	if (p == 0) {
		struct sembuf undo = { 0, -1, SEM_UNDO };
		semop(sem, &undo, 1);
		_exit(0);
	}
	observe("SEM_UNDO: %s, value %s", reap(p), result(semctl(sem, 0, GETVAL)));
	p = must(fork());
	if (p == 0) {
		struct sembuf wait = { 1, -3, 0 };
		_exit(semop(sem, &wait, 1) == 0 ? 4 : errno);
	}
	wait_until(semctl(sem, 1, GETNCNT) == 1);
	struct sembuf give = { 1, 3, 0 };
	must(semop(sem, &give, 1));
	observe("waiter: %s, value %s", reap(p), result(semctl(sem, 1, GETVAL)));
	p = must(fork());
	if (p == 0) {
		struct sembuf wait = { 1, -3, 0 };
		_exit(semop(sem, &wait, 1) == -1 && errno == EIDRM ? 5 : 1);
	}
	wait_until(semctl(sem, 1, GETNCNT) == 1);
	must(semctl(sem, 0, IPC_RMID));
	observe("waiter of a removed set: %s", reap(p));

	int q = must(msgget(IPC_PRIVATE, IPC_CREAT | 0600));
	struct message out[] = { { 3, "three" }, { 1, "one" }, { 2, "two" }, { 1, "one more" } }, in;
	for (int i = 0; i < 4; i++)
		must(msgsnd(q, &out[i], sizeof in.text, 0));
	observe("type 2: %s", result(msgrcv(q, &in, sizeof in.text, 2, 0)));
	observe("  %s", in.text);
	observe("lowest up to 2: %s", result(msgrcv(q, &in, sizeof in.text, -2, 0)));
	observe("  %s", in.text);
	observe("first: %s", result(msgrcv(q, &in, sizeof in.text, 0, 0)));
	observe("  %s", in.text);
	fails(msgrcv(q, &in, 2, 1, 0), E2BIG);
	fails(msgrcv(q, &in, sizeof in.text, 9, IPC_NOWAIT), ENOMSG);
	must(msgctl(q, IPC_RMID, NULL));
	fails(msgsnd(q, out, 1, 0), EINVAL);
	fails(shmget(0x1234567, 4096, 0), ENOENT);
	return contract_end();
}
