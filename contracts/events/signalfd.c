/*
 * events/signalfd: signals read from a descriptor.
 *
 * Catches: signals both handled and read, values lost, a mask that cannot be changed.
 */
#include "contract.h"
#include <poll.h>
#include <sys/signalfd.h>

int main(void)
{
	sigset_t s;
	struct signalfd_siginfo i[4];
	sigemptyset(&s);
	sigaddset(&s, SIGUSR1);
	sigaddset(&s, SIGRTMIN);
	sigprocmask(SIG_BLOCK, &s, NULL);
	int fd = must(signalfd(-1, &s, SFD_NONBLOCK | SFD_CLOEXEC));
	fails(read(fd, i, sizeof i), EAGAIN);
	kill(getpid(), SIGUSR1);
	sigqueue(getpid(), SIGRTMIN, (union sigval){ .sival_int = 42 });
	sigqueue(getpid(), SIGRTMIN, (union sigval){ .sival_int = 43 });
	struct pollfd p = { fd, POLLIN, 0 };
	observe("poll: %s", result(poll(&p, 1, 0)));
	ssize_t n = read(fd, i, sizeof i);
	observe("read: %ld signals", (long)n / (long)sizeof *i);
	for (int k = 0; k < n / (int)sizeof *i; k++)
		observe("  %s%d code %d value %d, from self %d", (int)i[k].ssi_signo >= SIGRTMIN ? "RTMIN+" : "", (int)i[k].ssi_signo >= SIGRTMIN ? (int)i[k].ssi_signo - SIGRTMIN : (int)i[k].ssi_signo,
			i[k].ssi_code, i[k].ssi_int, (int)i[k].ssi_pid == getpid());
	sigset_t pending;
	sigpending(&pending);
	observe("pending afterwards: %d %d", sigismember(&pending, SIGUSR1), sigismember(&pending, SIGRTMIN));
	sigemptyset(&s);
	sigaddset(&s, SIGUSR2);
	must(signalfd(fd, &s, 0));
	kill(getpid(), SIGUSR1);
	fails(read(fd, i, sizeof i), EAGAIN);
	fails(read(fd, i, 10), EINVAL);
	fails(signalfd(0, &s, 0), EINVAL);
	fails(signalfd(-1, &s, 0x10000), EINVAL);
	return contract_end();
}
