/*
 * process/exit_group: one thread's exit_group, or a fatal signal, ends all threads; a thread's exit ends only itself.
 *
 * Catches: threads that live on and keep pipes open, a process reported dead while a thread runs, the first thread's exit taken for
 * the process' end.
 */
#include "contract.h"
#include <pthread.h>

static int down[2];

static void *block(void *x)
{
	char c;
	read(down[0], &c, 1);
	return x;
}

static void *spin(void *x)
{
	for (volatile unsigned long i = 0;; i++)
		;
	return x;
}

static void *leave(void *x)
{
	usleep(20000);
	_exit(23);
	return x;
}

static void *last(void *x)
{
	usleep(30000);
	observe("the last thread is still here");
	syscall(SYS_exit, 5);
	return x;
}

static void *fault(void *x)
{
	usleep(20000);
	*(volatile int *)8 = 1;
	return x;
}

static void scene(const char *name, void *(*f)(void *), int main_exits)
{
	pid_t p = must(fork());
	if (p == 0) {
		pthread_t t;
		if (f != last) {
			pthread_create(&t, NULL, block, NULL);
			pthread_create(&t, NULL, spin, NULL);
		}
		pthread_create(&t, NULL, f, NULL);
		if (main_exits)
			syscall(SYS_exit, 4);
		for (;;)
			pause();
	}
	observe("%s: %s", name, reap(p));
}

int main(void)
{
	must(pipe(down));
	scene("exit_group in a thread", leave, 0);
	scene("a fault in a thread", fault, 0);
	scene("first thread exits, exit_group later", leave, 1);
	scene("first thread exits, then the last one", last, 1);
	/* If anybody lived on, this would not end. */
	close(down[1]);
	char c;
	observe("end of the pipe: %s", result(read(down[0], &c, 1)));
	return contract_end();
}
