/*
 * subsystems/pidfd: a process as a descriptor: poll, signal, wait.
 *
 * Catches: a pidfd that follows a reused number, readiness before the end, signals to zombies.
 */
#include "contract.h"
#include <poll.h>

int main(void)
{
	pid_t p = must(fork());
	if (p == 0)
		for (;;)
			pause();
	int fd = must(syscall(SYS_pidfd_open, p, 0));
	struct pollfd pf = { fd, POLLIN, 0 };
	observe("close-on-exec %d, running: poll %s", fcntl(fd, F_GETFD), result(poll(&pf, 1, 0)));
	observe("signal 0: %s", result(syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0)));
	must(syscall(SYS_pidfd_send_signal, fd, SIGTERM, NULL, 0));
	observe("ended: poll %s", result(poll(&pf, 1, 5000)));
	observe("zombie: signal 0 %s", result(syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0)));
	siginfo_t si;
	observe("waitid: %s, status %d", result(waitid(3 /* P_PIDFD */, fd, &si, WEXITED)), si.si_status);
	fails(syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0), ESRCH);
	fails(syscall(SYS_pidfd_open, p, 0), ESRCH);
	fails(syscall(SYS_pidfd_open, getpid(), 0x10), EINVAL);
	fails(syscall(SYS_pidfd_send_signal, 0, 0, NULL, 0), EBADF);
	return contract_end();
}
