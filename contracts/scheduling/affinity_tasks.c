/*
 * scheduling/affinity_tasks: affinity of threads, of other processes and over execve, kept while others compute.
 *
 * Catches: a mask that is one for the process, a running task that stays where it was, tasks of one processor that starve each other or others.
 */
#include "contract.h"
#include <pthread.h>
#include <sched.h>

enum { SPINNERS = 3 };

static int cpus[2], many;
static volatile int stop;

static void only(cpu_set_t *s, int cpu)
{
	CPU_ZERO(s);
	CPU_SET(cpu, s);
}

static int here(void)
{
	unsigned cpu = 999;
	syscall(SYS_getcpu, &cpu, NULL, NULL);
	return cpu;
}

static void *pinned(void *arg)
{
	cpu_set_t s;
	int cpu = cpus[(long)arg % 2], wrong = 0;
	only(&s, cpu);
	if (syscall(SYS_sched_setaffinity, 0, sizeof s, &s))
		return (void *)-1L;
	for (int i = 0; i < 400; i++) {
		wrong += here() != cpu;
		if (i % 20 == 0)
			usleep(100);
		for (volatile int k = 0; k < 500; k++)
			;
	}
	return (void *)(long)wrong;
}

int main(int argc, char **argv)
{
	cpu_set_t all, s, got;
	must(sched_getaffinity(0, sizeof all, &all));
	if (argc == 2) { /* after execve */
		only(&s, atoi(argv[1]));
		_exit(CPU_EQUAL(&all, &s) && here() == atoi(argv[1]) ? 0 : 1);
	}
	for (int i = 0, n = 0; i < CPU_SETSIZE && n < 2; i++)
		if (CPU_ISSET(i, &all))
			cpus[n++] = i, many = n;
	if (many == 1)
		cpus[1] = cpus[0];
	pthread_t t[4];
	long wrong = 0;
	for (long i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, pinned, (void *)i);
	for (int i = 0; i < 4; i++) {
		void *r;
		pthread_join(t[i], &r);
		wrong += (long)r;
	}
	must(sched_getaffinity(0, sizeof got, &got));
	observe("threads on wrong processors: %ld, main's mask as before: %d", wrong, CPU_EQUAL(&got, &all));

	char number[16];
	snprintf(number, sizeof number, "%d", cpus[1]);
	pid_t p = must(fork());
	if (p == 0) {
		only(&s, cpus[1]);
		must(sched_setaffinity(0, sizeof s, &s));
		execl("/proc/self/exe", argv[0], number, NULL);
		_exit(9);
	}
	observe("kept over execve: %s", reap(p));

	/* Another process, while it computes. */
	volatile int *where = must(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	p = must(fork());
	if (p == 0)
		for (;;)
			*where = here() + 1;
	wait_until(*where);
	for (int i = 0; i < 2; i++) {
		only(&s, cpus[i]);
		must(sched_setaffinity(p, sizeof s, &s));
		must(sched_getaffinity(p, sizeof got, &got));
		wait_until(*where == cpus[i] + 1);
		int moved = 0;
		for (int k = 0; k < 50; k++) {
			usleep(200);
			moved += *where != cpus[i] + 1;
		}
		observe("mask told: %d, moved away: %d times", CPU_EQUAL(&s, &got), moved);
	}
	char line[256], path[64];
	int listed = -1;
	snprintf(path, sizeof path, "/proc/%d/status", p);
	FILE *f = fopen(path, "r");
	while (fgets(line, sizeof line, f))
		sscanf(line, "Cpus_allowed_list: %d", &listed);
	fclose(f);
	observe("in /proc/PID/status: %d", listed == cpus[1]);
	kill(p, SIGKILL);
	reap(p);

	/* Several on one processor: all get some of it, and so does one that may run anywhere. */
	volatile unsigned long *count = (volatile unsigned long *)where + 8;
	pid_t child[SPINNERS + 1];
	for (int i = 0; i <= SPINNERS; i++) {
		count[i] = 0;
		child[i] = must(fork());
		if (child[i] == 0) {
			only(&s, cpus[0]);
			if (i < SPINNERS)
				must(sched_setaffinity(0, sizeof s, &s));
			for (;;)
				count[i]++;
		}
	}
	for (int i = 0; i <= SPINNERS; i++)
		wait_until(count[i] > 100000);
	observe("nobody starves");
	for (int i = 0; i <= SPINNERS; i++) {
		kill(child[i], SIGKILL);
		reap(child[i]);
	}
	p = must(fork());
	if (p == 0) {
		must(setuid(1000));
		fails(sched_setaffinity(getppid(), sizeof all, &all), EPERM);
		observe("its own: %s", result(sched_setaffinity(0, sizeof all, &all)));
		_exit(0);
	}
	observe("unprivileged: %s", reap(p));
	return contract_end();
}
