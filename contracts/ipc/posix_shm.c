/*
 * ipc/posix_shm: shared memory objects by name, and a process-shared semaphore in one.
 *
 * Catches: /dev/shm missing or not shared, unlink that breaks mappings, sem_wait between processes.
 */
#include "contract.h"
#include <semaphore.h>

int main(void)
{
	int fd = must(shm_open("/contract", O_RDWR | O_CREAT | O_EXCL, 0600));
	must(ftruncate(fd, 4096));
	fails(shm_open("/contract", O_RDWR | O_CREAT | O_EXCL, 0600), EEXIST);
	sem_t *s = must(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
	volatile int *turns = (int *)(s + 1);
	must(sem_init(s, 1, 0));
	pid_t p = must(fork());
	if (p == 0) {
		int other = must(shm_open("/contract", O_RDWR, 0));
		sem_t *t = must(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, other, 0));
		for (int i = 0; i < 50; i++) {
			sem_wait(t);
			++*(volatile int *)(t + 1);
		}
		_exit(0);
	}
	for (int i = 0; i < 50; i++) {
		sem_post(s);
		wait_until(*turns == i + 1);
	}
	observe("child: %s, turns %d", reap(p), *turns);
	must(shm_unlink("/contract"));
	*turns = 7;
	observe("unlinked, still mapped: %d", *turns);
	fails(shm_open("/contract", O_RDWR, 0), ENOENT);
	sem_t *n = sem_open("/named", O_CREAT | O_EXCL, 0600, 2);
	observe("named semaphore: %s", n == SEM_FAILED ? errno_name(errno) : "ok");
	if (n != SEM_FAILED) {
		observe("twice: %s %s, then %s", result(sem_trywait(n)), result(sem_trywait(n)), result(sem_trywait(n)));
		sem_close(n);
		sem_unlink("/named");
	}
	return contract_end();
}
