/*
 * ipc/sysv_info: limits and lists of System V objects, by call and in /proc.
 *
 * Catches: *_STAT by the wrong index, counts that are not kept, /proc/sysvipc missing or without the object.
 */
#include "contract.h"
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

union semun {
	int val;
	struct semid_ds *buf;
	struct seminfo *info;
};

/* listed counts the lines of a file whose second number is id; the header is not one. */
static int listed(const char *path, int id, char *header, int n)
{
	char line[512];
	int found = 0, key, got;
	FILE *f = fopen(path, "r");
	if (!f || !fgets(header, n, f))
		return -1;
	while (fgets(line, sizeof line, f))
		found += sscanf(line, "%d %d", &key, &got) == 2 && got == id;
	fclose(f);
	return found;
}

static void show(const char *path)
{
	char text[256] = "";
	int fd = open(path, O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
	if (n > 0)
		text[n - 1] = 0;
	close(fd);
	observe("%s: %s", path, text);
}

int main(void)
{
	char header[512];
	int q = must(msgget(IPC_PRIVATE, 0600)), s = must(semget(IPC_PRIVATE, 3, 0600)), m = must(shmget(IPC_PRIVATE, 5000, 0600));
	struct msginfo mi;
	struct seminfo si;
	struct shminfo hi;
	struct {
		int used_ids;
		unsigned long total, rss, swap, attempts, successes;
	} hs;
	must(msgctl(q, IPC_INFO, (void *)&mi));
	observe("messages: max %d, of a queue %d, queues %d", mi.msgmax, mi.msgmnb, mi.msgmni);
	must(semctl(0, 0, IPC_INFO, (union semun){ .info = &si }));
	observe("semaphores: sets %d, all %d, of a set %d, operations %d, value %d", si.semmni, si.semmns, si.semmsl, si.semopm, si.semvmx);
	must(shmctl(0, IPC_INFO, (void *)&hi));
	observe("segments: max %lu, min %lu, number %lu, pages %lu", hi.shmmax, hi.shmmin, hi.shmmni, hi.shmall);
	int top = must(shmctl(0, SHM_INFO, (void *)&hs));
	observe("used: %d, pages at least 2: %d, highest place at least 0: %d", hs.used_ids >= 1, hs.total >= 2, top >= 0);
	must(semctl(0, 0, SEM_INFO, (union semun){ .info = &si }));
	observe("used sets at least 1: %d, semaphores at least 3: %d", si.semusz >= 1, si.semaem >= 3);
	int found = 0;
	top = must(msgctl(0, MSG_INFO, (void *)&mi));
	for (int i = 0; i <= top; i++) {
		struct msqid_ds ds;
		found += msgctl(i, MSG_STAT, &ds) == q;
	}
	observe("found by place: %d", found);
	top = must(semctl(0, 0, SEM_INFO, (union semun){ .info = &si }));
	found = 0;
	for (int i = 0; i <= top; i++) {
		struct semid_ds ds = { 0 };
		if (semctl(i, 0, SEM_STAT, (union semun){ .buf = &ds }) == s)
			found += ds.sem_nsems == 3;
	}
	observe("found by place: %d", found);
	observe("/proc/sysvipc: %d", listed("/proc/sysvipc/msg", q, header, sizeof header));
	observe("%s", header);
	observe("/proc/sysvipc: %d", listed("/proc/sysvipc/sem", s, header, sizeof header));
	observe("%s", header);
	observe("/proc/sysvipc: %d", listed("/proc/sysvipc/shm", m, header, sizeof header));
	observe("%s", header);
	show("/proc/sys/kernel/msgmax");
	show("/proc/sys/kernel/msgmnb");
	show("/proc/sys/kernel/msgmni");
	show("/proc/sys/kernel/sem");
	show("/proc/sys/kernel/shmmax");
	show("/proc/sys/kernel/shmall");
	show("/proc/sys/kernel/shmmni");
	must(msgctl(q, IPC_RMID, NULL));
	must(semctl(s, 0, IPC_RMID));
	must(shmctl(m, IPC_RMID, NULL));
	return contract_end();
}
