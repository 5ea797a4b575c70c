/*
 * ipc/sysv_permissions: who may use, change and remove System V objects.
 *
 * Catches: modes that are not looked at, IPC_SET that does not give away, removal by strangers.
 */
#include "contract.h"
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

int main(void)
{
	int q = must(msgget(IPC_PRIVATE, 0640)), s = must(semget(IPC_PRIVATE, 1, 0600)), m = must(shmget(IPC_PRIVATE, 4096, 0604));
	key_t key = 0x51ac0000 + getpid();
	int k = must(semget(key, 1, IPC_CREAT | 0600));
	struct msqid_ds mq;
	must(msgctl(q, IPC_STAT, &mq));
	observe("owner %u %u, maker %u %u", mq.msg_perm.uid, mq.msg_perm.gid, mq.msg_perm.cuid, mq.msg_perm.cgid);
	pid_t p = must(fork());
	if (p == 0) {
		struct {
			long type;
			char c;
		} x = { 1, 'x' };
		struct shmid_ds ds;
		must(setgid(1000));
		must(setuid(1000));
		fails(msgsnd(q, &x, 1, 0), EACCES);
		fails(msgrcv(q, &x, 1, 0, IPC_NOWAIT), EACCES);
		fails(msgctl(q, IPC_STAT, &mq), EACCES);
		fails(msgctl(q, IPC_RMID, NULL), EPERM);
		fails(semctl(s, 0, GETVAL), EACCES);
		fails(semctl(s, 0, SETVAL, 1), EACCES);
		fails(semctl(s, 0, IPC_RMID), EPERM);
		fails((long)shmat(m, NULL, 0), EACCES);
		void *r = shmat(m, NULL, SHM_RDONLY);
		observe("read-only by others: %s", r == (void *)-1 ? errno_name(errno) : "ok");
		observe("stat: %s", result(shmctl(m, IPC_STAT, &ds)));
		fails(shmctl(m, IPC_SET, &ds), EPERM);
		fails(semget(key, 1, 0400), EACCES);
		fails(semget(key, 1, 0200), EACCES);
		observe("without asking for anything: %d", semget(key, 0, 0) == k);
		fails(semget(key, 1, IPC_CREAT | IPC_EXCL), EEXIST);
		_exit(0);
	}
	observe("stranger: %s", reap(p));
	mq.msg_perm.uid = 1000;
	mq.msg_perm.mode = 0600;
	must(msgctl(q, IPC_STAT, &(struct msqid_ds){ 0 }));
	must(msgctl(q, IPC_SET, &mq));
	p = must(fork());
	if (p == 0) {
		must(setgid(1000));
		must(setuid(1000));
		must(msgctl(q, IPC_STAT, &mq));
		observe("given to %u, made by %u, mode %o", mq.msg_perm.uid, mq.msg_perm.cuid, mq.msg_perm.mode);
		mq.msg_qbytes = 1 << 20;
		fails(msgctl(q, IPC_SET, &mq), EPERM); /* beyond msgmnb */
		observe("removed by the new owner: %s", result(msgctl(q, IPC_RMID, NULL)));
		_exit(0);
	}
	observe("new owner: %s", reap(p));
	must(semctl(s, 0, IPC_RMID));
	must(semctl(k, 0, IPC_RMID));
	must(shmctl(m, IPC_RMID, NULL));
	return contract_end();
}
