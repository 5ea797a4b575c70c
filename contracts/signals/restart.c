/*
 * signals/restart: which blocking calls go on after a handler with SA_RESTART and which answer EINTR anyway.
 *
 * Catches: EINTR where programs do not expect it, restarts where they rely on EINTR, sleeps that start again from the beginning.
 */
#include "contract.h"
#include <poll.h>
#include <sys/epoll.h>
#include <sys/select.h>

static void handler(int s) { (void)s; }

static int p[2];

static long try(int which)
{
	char c;
	struct pollfd pf = { .fd = p[0], .events = POLLIN };
	struct epoll_event e;
	fd_set set;
	struct timespec nap = { 10, 0 }, left = { 9, 9 };
	sigset_t none;
	sigemptyset(&none);
	switch (which) {
	case 0:
		return read(p[0], &c, 1);
	case 1:
		return poll(&pf, 1, 10000);
	case 2: {
		int e4 = epoll_create1(0);
		long r = epoll_wait(e4, &e, 1, 10000);
		int keep = errno;
		close(e4);
		errno = keep;
		return r;
	}
	case 3:
		FD_ZERO(&set);
		FD_SET(p[0], &set);
		return select(p[0] + 1, &set, NULL, NULL, &(struct timeval){ 10, 0 });
	case 4: {
		long r = nanosleep(&nap, &left);
		if (r == -1) {
			/* Interrupted at once it may be a little more than was asked for: the timer's slack. */
			require(left.tv_sec >= 0 && left.tv_sec <= 10 && !(left.tv_sec == 9 && left.tv_nsec == 9), "the rest of the sleep is told");
			errno = EINTR;
		}
		return r;
	}
	case 5:
		return sigsuspend(&none);
	case 6:
		return pause();
	case 7: {
		int st;
		return waitpid(-1, &st, 0) > 0 ? 0 : -1;
	}
	}
	return -1;
}

static const char *const names[] = { "read of a pipe", "poll", "epoll_wait", "select", "nanosleep", "sigsuspend", "pause", "waitpid" };

int main(void)
{
	must(pipe(p));
	for (int restart = 0; restart < 2; restart++) {
		struct sigaction a = { .sa_handler = handler, .sa_flags = restart ? SA_RESTART : 0 };
		sigaction(SIGUSR1, &a, NULL);
		for (int i = 0; i < 8; i++) {
			pid_t self = getpid(), k = must(fork());
			if (k == 0) {
				/* A signal once the parent sleeps, then what ends the call if it was restarted. */
				wait_until(asleep(self, self));
				kill(self, SIGUSR1);
				usleep(i == 7 ? 300000 : 15000); /* long before the end of what waitpid waits for */
				wait_until(asleep(self, self) || (i != 0 && i != 7));
				if (i == 0)
					write(p[1], "x", 1);
				_exit(0);
			}
			long r = try(i);
			observe("%s, SA_RESTART %d: %s", names[i], restart, result(r));
			if (i >= 1 && i <= 6)
				require(r == -1 && errno == EINTR, "never restarted");
			if (i == 0)
				require(restart ? r == 1 : r == -1 && errno == EINTR, "a read restarts if asked to");
			while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
				;
			if (i == 0 && !restart) {
				char c;
				read(p[0], &c, 1);
			}
		}
	}
	return contract_end();
}
