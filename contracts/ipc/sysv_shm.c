/*
 * ipc/sysv_shm: attaching shared memory in all forms, and when a removed segment goes.
 *
 * Catches: writes through read-only attachments, attachments miscounted over fork, exec and exit, segments that go while attached or stay afterwards.
 */
#include "contract.h"
#include <setjmp.h>
#include <sys/ipc.h>
#include <sys/shm.h>

#define FLAG_DEST 01000

static sigjmp_buf back;
static void segv(int s)
{
	(void)s;
	siglongjmp(back, 1);
}

static int attached(int id)
{
	struct shmid_ds ds;
	return shmctl(id, IPC_STAT, &ds) < 0 ? -1 : (int)ds.shm_nattch;
}

static int named_in_maps(int id)
{
	char line[512];
	int found = 0;
	FILE *f = fopen("/proc/self/maps", "r");
	(void)id;
	while (f && fgets(line, sizeof line, f))
		found += strstr(line, "/SYSV00000000") != NULL && strstr(line, "s ") != NULL;
	fclose(f);
	return found;
}

int main(int argc, char **argv)
{
	if (argc == 3) /* after execve */
		_exit(attached(atoi(argv[2])) == 1 ? 0 : 1);
	fails(shmget(IPC_PRIVATE, 0, 0600), EINVAL);
	int id = must(shmget(IPC_PRIVATE, 10000, 0600));
	struct shmid_ds ds;
	must(shmctl(id, IPC_STAT, &ds));
	observe("new: size %zu, attached %d, creator %d, last %d, times %d %d %d, mode %o", ds.shm_segsz, (int)ds.shm_nattch, ds.shm_cpid == getpid(), ds.shm_lpid, ds.shm_atime != 0,
		ds.shm_dtime != 0, ds.shm_ctime != 0, ds.shm_perm.mode);
	char *w = must(shmat(id, NULL, 0)), *r = must(shmat(id, NULL, SHM_RDONLY));
	strcpy(w + 9000, "both");
	observe("twice: attached %d, seen through the other: %s, in maps %d", attached(id), r + 9000, named_in_maps(id));
	signal(SIGSEGV, segv);
	if (sigsetjmp(back, 1) == 0) {
		r[0] = 1;
		observe("wrote through a read-only attachment");
	} else {
		observe("read-only: SIGSEGV");
	}
	fails(mprotect(r, 4096, PROT_READ | PROT_WRITE), EACCES);
	fails((long)shmat(id, w + 1, 0), EINVAL);
	fails((long)shmat(id, w, 0), EINVAL); /* something is there */
	fails((long)shmat(id, NULL, SHM_REMAP), EINVAL);
	must(shmdt(r));
	char *fixed = must(mmap(NULL, 4 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	fixed[3 * 4096] = 'x';
	char *at = shmat(id, fixed + 100, SHM_RND | SHM_REMAP);
	observe("remapped, rounded: %d, content %s, behind it %c, attached %d", at == fixed, fixed + 9000, fixed[3 * 4096], attached(id));
	fails(shmdt(fixed + 4096), EINVAL);
	must(shmdt(fixed));
	fails(shmdt(fixed), EINVAL);
	fails((long)shmat(123456789, NULL, 0), EINVAL);

	char number[32];
	snprintf(number, sizeof number, "%d", id);
	pid_t p = must(fork());
	if (p == 0)
		_exit(attached(id) == 2 ? 0 : 1);
	observe("inherited: %s, then attached %d", reap(p), attached(id));
	p = must(fork());
	if (p == 0) {
		execl("/proc/self/exe", argv[0], "after", number, NULL);
		_exit(9);
	}
	observe("gone after execve: %s", reap(p));
	p = must(fork());
	if (p == 0) {
		shmdt(w);
		_exit(0);
	}
	reap(p);
	must(shmctl(id, IPC_STAT, &ds));
	observe("last by the child: %d", ds.shm_lpid == p);

	/* Unmapping the middle leaves two attachments. */
	must(munmap(w + 4096, 4096));
	observe("split: attached %d", attached(id));
	must(shmctl(id, IPC_RMID, NULL));
	must(shmctl(id, IPC_STAT, &ds));
	observe("removed: marked %d, private %d, content %s", (ds.shm_perm.mode & FLAG_DEST) != 0, ds.shm_perm.__key == IPC_PRIVATE, w + 9000);
	char *again = shmat(id, NULL, 0);
	observe("attached after removal: %s", again == (void *)-1 ? errno_name(errno) : again + 9000);
	must(shmdt(again));
	must(shmdt(w)); /* both pieces */
	fails(shmctl(id, IPC_STAT, &ds), EINVAL);

	/* By key. */
	key_t key = 0x51ab0000 + getpid();
	fails(shmget(key, 100, 0600), ENOENT);
	id = must(shmget(key, 100, IPC_CREAT | 0600));
	fails(shmget(key, 100, IPC_CREAT | IPC_EXCL | 0600), EEXIST);
	fails(shmget(key, 101, 0600), EINVAL);
	observe("the same: %d", shmget(key, 0, 0) == id);
	must(shmctl(id, IPC_RMID, NULL));
	fails(shmget(key, 0, 0), ENOENT);
	return contract_end();
}
