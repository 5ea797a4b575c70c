/*
 * events/timerfd: one-shot, periodic and absolute timers as files.
 *
 * Catches: expirations not counted, settime that keeps the old count, the old setting not told.
 */
#include "contract.h"
#include <poll.h>
#include <sys/timerfd.h>

int main(void)
{
	uint64_t v = 0;
	struct itimerspec t = { { 0, 0 }, { 0, 300000000 } }, old; /* long enough for a busy computer to look before */
	int fd = must(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
	struct pollfd p = { fd, POLLIN, 0 };
	fails(read(fd, &v, 8), EAGAIN);
	must(timerfd_settime(fd, 0, &t, NULL));
	fails(read(fd, &v, 8), EAGAIN);
	observe("poll: %s", result(poll(&p, 1, 5000)));
	observe("read: %s, expirations %" PRIu64, result(read(fd, &v, 8)), v);
	fails(read(fd, &v, 8), EAGAIN);
	t = (struct itimerspec){ { 0, 5000000 }, { 0, 5000000 } };
	must(timerfd_settime(fd, 0, &t, NULL));
	usleep(40000);
	read(fd, &v, 8);
	observe("periodic: several at once %d", v >= 7);
	must(timerfd_gettime(fd, &old));
	observe("interval %ld, time left within it %d", old.it_interval.tv_nsec, old.it_value.tv_nsec > 0 && old.it_value.tv_nsec <= 5000000);
	t = (struct itimerspec){ { 0, 0 }, { 100, 0 } };
	must(timerfd_settime(fd, 0, &t, &old));
	observe("old interval: %ld", old.it_interval.tv_nsec);
	fails(read(fd, &v, 8), EAGAIN);
	memset(&t, 0, sizeof t);
	must(timerfd_settime(fd, 0, &t, &old));
	observe("disarmed; was about 100 s: %d", old.it_value.tv_sec >= 98);
	t.it_value.tv_nsec = 1; /* one nanosecond after the clock began */
	must(timerfd_settime(fd, TFD_TIMER_ABSTIME, &t, NULL));
	observe("an absolute time that is over: %s", result(poll(&p, 1, 1000)));
	fails(read(fd, &v, 4), EINVAL);
	fails(write(fd, &v, 8), EINVAL);
	fails(timerfd_create(99, 0), EINVAL);
	fails(timerfd_create(CLOCK_MONOTONIC, 0x10000000), EINVAL);
	t.it_value.tv_nsec = 1000000000;
	fails(timerfd_settime(fd, 0, &t, NULL), EINVAL);
	fails(timerfd_gettime(0, &t), EINVAL);
	return contract_end();
}
