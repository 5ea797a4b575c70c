/*
 * filesystem/fifo: named pipes: who waits for whom at open, and what is read at the end.
 *
 * Catches: an open that does not wait for the other side, ENXIO missing, data lost between two writers.
 */
#include "contract.h"

int main(void)
{
	char b[16] = { 0 };
	must(mkfifo("f", 0600));
	fails(mkfifo("f", 0600), EEXIST);
	fails(open("f", O_WRONLY | O_NONBLOCK), ENXIO);
	int r = must(open("f", O_RDONLY | O_NONBLOCK));
	observe("nobody writes: %s", result(read(r, b, 1)));
	int w = must(open("f", O_WRONLY | O_NONBLOCK));
	fails(read(r, b, 1), EAGAIN);
	write(w, "one", 3);
	close(w);
	observe("after the writer left: %s, then %s", result(read(r, b, 16)), result(read(r, b, 16)));
	w = must(open("f", O_WRONLY));
	write(w, "two", 3);
	observe("another writer: %s", result(read(r, b, 16)));
	close(w);
	close(r);

	pid_t p = must(fork());
	if (p == 0) {
		int out = must(open("f", O_WRONLY)); /* waits for a reader */
		write(out, "hello", 5);
		_exit(0);
	}
	wait_until(asleep(p, p));
	r = must(open("f", O_RDONLY));
	memset(b, 0, sizeof b);
	observe("both waited: %s %s, child %s", result(read(r, b, 5)), b, reap(p));
	close(r);
	int rw = must(open("f", O_RDWR | O_NONBLOCK));
	write(rw, "self", 4);
	memset(b, 0, sizeof b);
	observe("O_RDWR: %s %s", result(read(rw, b, 16)), b);
	/* Opening is interrupted by a signal. */
	unlink("f");
	must(mkfifo("f", 0600));
	p = must(fork());
	if (p == 0) {
		open("f", O_RDONLY);
		_exit(0);
	}
	wait_until(asleep(p, p));
	kill(p, SIGTERM);
	observe("waiting opener: %s", reap(p));
	return contract_end();
}
