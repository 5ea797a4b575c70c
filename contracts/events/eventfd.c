/*
 * events/eventfd: the counter, the semaphore, and blocking at both ends.
 *
 * Catches: reads that do not reset, a semaphore that gives all, overflow accepted, short buffers accepted.
 */
#include "contract.h"
#include <poll.h>
#include <sys/eventfd.h>

int main(void)
{
	uint64_t v;
	int fd = must(eventfd(3, EFD_NONBLOCK | EFD_CLOEXEC));
	struct pollfd p = { fd, POLLIN | POLLOUT, 0 };
	observe("close-on-exec %d, nonblock %d", fcntl(fd, F_GETFD), !!(fcntl(fd, F_GETFL) & O_NONBLOCK));
	v = 4;
	observe("write 4: %s", result(write(fd, &v, 8)));
	observe("read: %s, value %" PRIu64, result(read(fd, &v, 8)), v);
	fails(read(fd, &v, 8), EAGAIN);
	poll(&p, 1, 0);
	observe("empty: in %d out %d", !!(p.revents & POLLIN), !!(p.revents & POLLOUT));
	v = UINT64_MAX - 1;
	observe("write the most: %s", result(write(fd, &v, 8)));
	poll(&p, 1, 0);
	observe("full: in %d out %d", !!(p.revents & POLLIN), !!(p.revents & POLLOUT));
	v = 1;
	fails(write(fd, &v, 8), EAGAIN);
	v = 0;
	observe("write 0: %s", result(write(fd, &v, 8)));
	v = UINT64_MAX;
	fails(write(fd, &v, 8), EINVAL);
	fails(write(fd, &v, 4), EINVAL);
	fails(read(fd, &v, 7), EINVAL);
	fails(pread(fd, &v, 8, 0), ESPIPE);
	observe("read: %s, value %#" PRIx64, result(read(fd, &v, 8)), v);

	int s = must(eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK));
	for (int i = 0; i < 3; i++) {
		v = 99;
		ssize_t r = read(s, &v, 8);
		observe("semaphore: %s, value %" PRIu64, result(r), v);
	}
	fails(eventfd(0, 0x100), EINVAL);

	int b = must(eventfd(0, 0));
	pid_t c = must(fork());
	if (c == 0) {
		wait_until(asleep(getppid(), getppid()));
		v = 5;
		write(b, &v, 8);
		_exit(0);
	}
	observe("blocking read: %s, value %" PRIu64, result(read(b, &v, 8)), v);
	reap(c);
	v = UINT64_MAX - 1;
	write(b, &v, 8);
	c = must(fork());
	if (c == 0) {
		v = 7;
		_exit(write(b, &v, 8) == 8 ? 0 : 1);
	}
	wait_until(asleep(c, c));
	read(b, &v, 8);
	observe("blocked writer: %s", reap(c));
	read(b, &v, 8);
	observe("then: %" PRIu64, v);
	return contract_end();
}
