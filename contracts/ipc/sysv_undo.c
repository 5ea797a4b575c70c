/*
 * ipc/sysv_undo: what SEM_UNDO takes back, when, and for whom.
 *
 * Catches: undo lost at execve or done at fork, kept after SETVAL, done for each thread instead of once for the process.
 */
#include "contract.h"
#include <pthread.h>
#include <sys/ipc.h>
#include <sys/sem.h>

static int set;

static int op(int n, int v, int flags)
{
	struct sembuf b = { n, v, flags };
	return semop(set, &b, 1);
}

static void *worker(void *arg)
{
	must(op(0, -1, SEM_UNDO));
	return arg;
}

static int value(int n) { return must(semctl(set, n, GETVAL)); }

int main(int argc, char **argv)
{
	if (argc == 3) { /* after execve */
		set = atoi(argv[2]);
		_exit(value(0) == 8 ? 0 : 1);
	}
	char id[32];
	set = must(semget(IPC_PRIVATE, 2, 0600));
	must(semctl(set, 0, SETVAL, 10));
	snprintf(id, sizeof id, "%d", set);

	pid_t p = must(fork());
	if (p == 0) {
		must(op(0, -3, SEM_UNDO));
		must(op(0, 1, SEM_UNDO));
		must(op(0, -1, 0)); /* not remembered */
		kill(getpid(), SIGKILL);
	}
	observe("killed: %s, value %d", reap(p), value(0));

	p = must(fork());
	if (p == 0) {
		must(op(0, -1, SEM_UNDO));
		pid_t child = must(fork());
		if (child == 0)
			_exit(0); /* undoes nothing: undo lists are not inherited */
		waitpid(child, NULL, 0);
		_exit(value(0) == 8 ? 0 : 1);
	}
	observe("a child's end undoes nothing: %s, value %d", reap(p), value(0));

	p = must(fork());
	if (p == 0) {
		must(op(0, -1, SEM_UNDO));
		execl("/proc/self/exe", argv[0], "after", id, NULL);
		_exit(9);
	}
	observe("kept over execve: %s, value %d", reap(p), value(0));

	p = must(fork());
	if (p == 0) {
		pthread_t t;
		must(op(1, 1, SEM_UNDO));
		pthread_create(&t, NULL, worker, NULL);
		pthread_join(t, NULL);
		_exit(value(0) == 8 ? 0 : 1); /* the thread's end undoes nothing */
	}
	observe("threads share: %s, values %d %d", reap(p), value(0), value(1));

	p = must(fork());
	if (p == 0) {
		must(op(0, -4, SEM_UNDO));
		must(semctl(set, 0, SETVAL, 2)); /* forgets */
		_exit(0);
	}
	observe("SETVAL forgets: %s, value %d", reap(p), value(0));

	p = must(fork());
	if (p == 0) {
		must(op(0, 5, SEM_UNDO)); /* 7, of which others take 6 */
		must(op(0, -6, 0));
		_exit(0);
	}
	observe("not below zero: %s, value %d", reap(p), value(0));

	/* Undoing wakes. */
	must(semctl(set, 0, SETVAL, 1));
	p = must(fork());
	if (p == 0) {
		must(op(0, -1, SEM_UNDO));
		wait_until(semctl(set, 0, GETNCNT) == 1);
		_exit(0);
	}
	wait_until(value(0) == 0);
	observe("woken by an end: %s", result(op(0, -1, 0)));
	reap(p);
	must(semctl(set, 0, IPC_RMID));
	return contract_end();
}
