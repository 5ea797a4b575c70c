/*
 * signals/sigpipe: writing where nobody reads.
 *
 * Catches: programs in pipelines that never end because SIGPIPE is missing, EPIPE missing when it is ignored.
 */
#include "contract.h"

int main(void)
{
	int p[2];
	must(pipe(p));
	close(p[0]);
	pid_t c = must(fork());
	if (c == 0) {
		write(p[1], "x", 1);
		_exit(0);
	}
	observe("default: %s", reap(c));
	signal(SIGPIPE, SIG_IGN);
	fails(write(p[1], "x", 1), EPIPE);
	observe("nothing to write: %s", result(write(p[1], "", 0)));

	/* A writer that sleeps on a full pipe wakes when the reader goes. */
	int q[2], up[2];
	must(pipe(q));
	must(pipe(up));
	c = must(fork());
	if (c == 0) {
		char block[4096] = { 0 };
		close(q[0]);
		write(up[1], "x", 1);
		for (;;)
			if (write(q[1], block, sizeof block) < 0)
				_exit(errno == EPIPE ? 5 : 6);
	}
	char b;
	read(up[0], &b, 1);
	wait_until(asleep(c, c));
	close(q[0]);
	observe("a sleeping writer: %s", reap(c));
	return contract_end();
}
