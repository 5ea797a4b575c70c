/*
 * time/timerfd_settings: timerfd_settime in all forms, and what is read after each.
 *
 * Catches: expirations of the setting before that are still read, absolute times taken as relative, what is left told wrongly, readers that sleep on.
 */
#include "contract.h"
#include <poll.h>
#include <sys/timerfd.h>

static long long expirations(int fd)
{
	uint64_t n = 0;
	return read(fd, &n, sizeof n) == 8 ? (long long)n : -1;
}

int main(void)
{
	struct itimerspec s = { { 0, 5000000 }, { 0, 5000000 } }, old, zero = { 0 };
	int fd = must(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
	struct pollfd p = { fd, POLLIN, 0 };
	must(timerfd_gettime(fd, &old));
	observe("new: %ld %ld", (long)old.it_value.tv_sec, old.it_value.tv_nsec);
	must(timerfd_settime(fd, 0, &s, NULL));
	observe("fires: %d", poll(&p, 1, 10000));
	usleep(30000);
	long long n = expirations(fd);
	observe("several at once: %d", n >= 5);
	usleep(20000);
	observe("ready again: %d", poll(&p, 1, 0));
	s = (struct itimerspec){ { 7, 0 }, { 100, 0 } };
	must(timerfd_settime(fd, 0, &s, &old));
	observe("before: interval %ld, left at most that %d", old.it_interval.tv_nsec, old.it_value.tv_nsec <= 5000000);
	observe("the new setting has not fired: poll %d, read %lld", poll(&p, 1, 0), expirations(fd));
	must(timerfd_gettime(fd, &old));
	observe("left: %d, interval %ld", old.it_value.tv_sec >= 90 && old.it_value.tv_sec <= 100, (long)old.it_interval.tv_sec);
	must(timerfd_settime(fd, 0, &zero, &old));
	must(timerfd_gettime(fd, &old));
	observe("off: left %ld %ld", (long)old.it_value.tv_sec, old.it_value.tv_nsec);
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	s = (struct itimerspec){ { 0, 0 }, now };
	must(timerfd_settime(fd, TFD_TIMER_ABSTIME, &s, NULL));
	observe("a time that is past: poll %d", poll(&p, 1, 10000));
	observe("  %lld, then %lld", expirations(fd), expirations(fd));
	now.tv_nsec -= now.tv_nsec % 1000000; /* an interval that has passed many times since */
	s = (struct itimerspec){ { 0, 1000000 }, now };
	s.it_value.tv_sec -= now.tv_sec > 0;
	must(timerfd_settime(fd, TFD_TIMER_ABSTIME, &s, NULL));
	observe("counted from then on: poll %d, many: %d", poll(&p, 1, 10000), expirations(fd) >= (now.tv_sec > 0 ? 1000 : 1));
	must(timerfd_settime(fd, 0, &zero, NULL));
	s.it_value = (struct timespec){ 0, 1000000000 };
	fails(timerfd_settime(fd, 0, &s, NULL), EINVAL);
	fails(timerfd_settime(fd, 128, &zero, NULL), EINVAL);
	fails(timerfd_settime(1, 0, &zero, NULL), EINVAL);
	fails(timerfd_settime(99, 0, &zero, NULL), EBADF);
	fails(timerfd_create(77, 0), EINVAL);
	char small[4];
	fails(read(fd, small, sizeof small), EINVAL);

	/* A reader that sleeps, and a setting by another process. */
	int blocking = must(timerfd_create(CLOCK_REALTIME, 0));
	s = (struct itimerspec){ { 0, 0 }, { 1000, 0 } };
	must(timerfd_settime(blocking, 0, &s, NULL));
	pid_t reader = must(fork());
	if (reader == 0)
		_exit(expirations(blocking) == 1 ? 0 : 1);
	wait_until(asleep(reader, reader));
	s.it_value = (struct timespec){ 0, 1 };
	must(timerfd_settime(blocking, 0, &s, NULL));
	observe("set earlier while somebody reads: %s", reap(reader));
	return contract_end();
}
