/*
 * Makes a plant act: prctl(0x52494e47, argument). With an argument "2", two processes do it at the same time; with a second one, an
 * interval timer interrupts them every 100 us meanwhile. Prints that it is still there.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static void tick(int sig)
{
	(void)sig;
}

int main(int argc, char **argv)
{
	int n = argc > 1 ? atoi(argv[1]) : 1, status, bad = 0;

	prctl(PR_SET_NAME, "poke");
	if (argc > 2) {
		struct itimerval t = { { 0, 100 }, { 0, 100 } };
		struct sigaction a = { .sa_handler = tick, .sa_flags = SA_RESTART };
		sigaction(SIGALRM, &a, NULL);
		setitimer(ITIMER_REAL, &t, NULL);
	}
	for (int i = 1; i < n; i++) {
		if (fork() == 0) {
			prctl(PR_SET_NAME, "poke2");
			prctl(0x52494e47, i, 0, 0, 0);
			_exit(0);
		}
	}
	prctl(0x52494e47, 0, 0, 0, 0);
	for (int i = 1; i < n; i++)
		bad |= wait(&status) < 0 || status != 0;
	printf("poked%s\n", bad ? ", and a child failed" : "");
	return bad;
}
