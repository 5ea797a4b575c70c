/*
 * process/exec_from_thread: execve in one of several threads ends the others; the process keeps its id.
 *
 * Catches: threads that survive into the new program, a parent that is told of an end that did not happen, a changed process id.
 */
#include "contract.h"
#include <dirent.h>
#include <pthread.h>

static void *spin(void *x)
{
	for (volatile unsigned long i = 0;; i++)
		;
	return x;
}

static void *sleeper(void *x)
{
	for (;;)
		pause();
	return x;
}

static void *replace(void *x)
{
	char *argv[] = { x, "second", NULL }, *env[] = { NULL };
	execve("/proc/self/exe", argv, env);
	contract_fail("execve: %s", errno_name(errno));
}

int main(int argc, char **argv)
{
	if (argc > 1) {
		int n = 0;
		DIR *d = opendir("/proc/self/task");
		for (struct dirent *e; d && (e = readdir(d));)
			n += e->d_name[0] != '.';
		observe("in the new program: threads %d, id is the thread's %d", n, getpid() == gettid());
		return n == 1 && getpid() == gettid() ? 9 : 1;
	}
	for (int i = 0; i < 5; i++) {
		pid_t p = must(fork());
		if (p == 0) {
			pthread_t t[4];
			pthread_create(&t[0], NULL, spin, NULL);
			pthread_create(&t[1], NULL, sleeper, NULL);
			pthread_create(&t[2], NULL, spin, NULL);
			pthread_create(&t[3], NULL, replace, argv[0]);
			for (;;)
				pause();
		}
		const char *end = reap(p);
		observe("process that replaced itself: %s", end);
		require(!strcmp(end, "exit 9"), "one thread under the old id");
	}
	return contract_end();
}
