/*
 * process/descriptors_at_exit: what a dying process holds is released: pipes end, locks open, files go.
 *
 * Catches: descriptors that outlive their process (readers hang), record locks left behind, an unlinked file that is never freed.
 */
#include "contract.h"

static const int ends[] = { 0, SIGKILL, SIGSEGV, SIGTERM };

int main(void)
{
	for (unsigned i = 0; i < sizeof ends / sizeof *ends; i++) {
		int p[2], ready[2];
		char c;
		must(pipe(p));
		must(pipe(ready));
		pid_t child = must(fork());
		if (child == 0) {
			int fd = must(open("file", O_RDWR | O_CREAT, 0600));
			struct flock l = { .l_type = F_WRLCK };
			must(fcntl(fd, F_SETLK, &l));
			dup2(p[1], 50);
			write(ready[1], "r", 1);
			if (ends[i] == 0)
				_exit(0);
			if (ends[i] == SIGSEGV)
				*(volatile int *)0 = 1;
			for (;;)
				pause();
		}
		close(p[1]);
		must(read(ready[0], &c, 1));
		if (ends[i] == SIGKILL || ends[i] == SIGTERM)
			kill(child, ends[i]);
		observe("end of the pipe: %s", result(read(p[0], &c, 1)));
		observe("child: %s", reap(child));
		int fd = must(open("file", O_RDWR));
		struct flock l = { .l_type = F_WRLCK };
		observe("lock free: %s", result(fcntl(fd, F_SETLK, &l)));
		close(fd);
		close(p[0]);
		close(ready[0]);
		close(ready[1]);
	}
	return contract_end();
}
