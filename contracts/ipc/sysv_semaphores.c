/*
 * ipc/sysv_semaphores: ranges, whole sets, waiting for zero, and who did what.
 *
 * Catches: values beyond 32767, half-done operations, waiters for zero that are not woken, counts of the wrong semaphore.
 */
#include "contract.h"
#include <sys/ipc.h>
#include <sys/sem.h>

union semun {
	int val;
	struct semid_ds *buf;
	unsigned short *array;
};

static int one(int set, int n, int op, int flags)
{
	struct sembuf b = { n, op, flags };
	return semop(set, &b, 1);
}

int main(void)
{
	unsigned short v[4] = { 1, 2, 3, 4 }, got[4] = { 0 };
	fails(semget(IPC_PRIVATE, 0, 0600), EINVAL);
	fails(semget(IPC_PRIVATE, -1, 0600), EINVAL);
	fails(semget(IPC_PRIVATE, 1000000, 0600), EINVAL);
	int s = must(semget(IPC_PRIVATE, 4, 0600));
	struct semid_ds ds;
	must(semctl(s, 0, IPC_STAT, (union semun){ .buf = &ds }));
	observe("new: %lu semaphores, operated %d, changed %d, mode %o", (unsigned long)ds.sem_nsems, ds.sem_otime != 0, ds.sem_ctime != 0, ds.sem_perm.mode);
	must(semctl(s, 0, SETALL, (union semun){ .array = v }));
	must(semctl(s, 0, GETALL, (union semun){ .array = got }));
	observe("all: %d %d %d %d", got[0], got[1], got[2], got[3]);
	fails(semctl(s, 4, GETVAL), EINVAL);
	fails(semctl(s, 0, SETVAL, (union semun){ .val = 32768 }), ERANGE);
	fails(semctl(s, 0, SETVAL, (union semun){ .val = -1 }), ERANGE);
	fails(semctl(s, 0, 12345), EINVAL);
	must(semctl(s, 0, SETVAL, (union semun){ .val = 32767 }));
	fails(one(s, 0, 1, 0), ERANGE);
	observe("unchanged: %s", result(semctl(s, 0, GETVAL)));
	fails(one(s, 4, 1, 0), EFBIG);
	struct sembuf many[1000] = { 0 };
	fails(semop(s, many, 1000), E2BIG);
	fails(semop(s, many, 0), EINVAL);
	fails(semop(s, NULL, 1), EFAULT);
	fails(one(-1, 0, 1, 0), EINVAL);
	fails(one(s, 1, 0, IPC_NOWAIT), EAGAIN);

	/* All or nothing, and the same semaphore twice. */
	struct sembuf twice[3] = { { 1, -2, 0 }, { 1, 1, 0 }, { 1, -2, IPC_NOWAIT } };
	fails(semop(s, twice, 3), EAGAIN);
	observe("as before: %s", result(semctl(s, 1, GETVAL)));
	observe("two of them: %s, now %s", result(semop(s, twice, 2)), result(semctl(s, 1, GETVAL)));
	observe("last operation by me: %d", semctl(s, 1, GETPID) == getpid());
	observe("never operated on: %d", semctl(s, 3, GETPID) == getpid());

	/* Waiters: one for zero, one for more. */
	pid_t zero = must(fork());
	if (zero == 0)
		_exit(one(s, 2, 0, 0) == 0 ? 0 : errno);
	wait_until(semctl(s, 2, GETZCNT) == 1);
	pid_t more = must(fork());
	if (more == 0) {
		struct sembuf both[2] = { { 3, -4, 0 }, { 2, -5, 0 } };
		_exit(semop(s, both, 2) == 0 ? 0 : errno);
	}
	wait_until(semctl(s, 2, GETNCNT) == 1);
	observe("counts: %s %s, of the other: %s", result(semctl(s, 2, GETZCNT)), result(semctl(s, 2, GETNCNT)), result(semctl(s, 3, GETNCNT)));
	must(one(s, 2, 2, 0));
	observe("both taken at once: %s %s", result(semctl(s, 2, GETVAL)), result(semctl(s, 3, GETVAL)));
	observe("for zero: %s, for more: %s", reap(zero), reap(more));
	pid_t last = semctl(s, 3, GETPID);
	observe("operation done in the name of the waiter: %d", last == more);
	must(semctl(s, 0, IPC_STAT, (union semun){ .buf = &ds }));
	observe("operated: %d", ds.sem_otime != 0);
	must(semctl(s, 0, IPC_RMID));
	fails(semctl(s, 0, GETVAL), EINVAL);
	return contract_end();
}
