/*
 * subsystems/pidfd_forms: pidfds made by clone, of threads, nonblocking, and what can be done with them.
 *
 * Catches: a descriptor without close-on-exec, a wait that blocks though the descriptor must not, another process's file with a position of its own, numbers
 * of a dead process in fdinfo.
 */
#include "contract.h"
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#ifndef P_PIDFD
#define P_PIDFD 3
#endif

static const char *pid_line(int fd)
{
	static char b[512], path[64];
	snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
	int i = must(open(path, O_RDONLY));
	ssize_t n = must(read(i, b, sizeof b - 1));
	close(i);
	b[n] = 0;
	char *p = strstr(b, "\nPid:\t");
	require(p, "a Pid line in fdinfo");
	return p + 6;
}

static void *thread(void *x)
{
	char c;
	*(pid_t *)x = syscall(SYS_gettid);
	must(read(((int *)x)[1], &c, 1));
	return NULL;
}

int main(void)
{
	int gate[2], fd = -1;
	siginfo_t si;
	must(pipe(gate));
	pid_t p = must(syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, 0, &fd, 0, 0));
	if (p == 0) {
		char c;
		_exit(read(gate[0], &c, 1) == 1 ? 5 : 6);
	}
	observe("close-on-exec %d, flags %#x", fcntl(fd, F_GETFD), fcntl(fd, F_GETFL) & ~O_RDWR & ~0100000);
	observe("fdinfo names the child: %d", atoi(pid_line(fd)) == p);
	int two = 0;
	fails(syscall(SYS_clone, CLONE_PIDFD | CLONE_PARENT_SETTID | SIGCHLD, 0, &two, 0, 0), EINVAL);
	fails(syscall(SYS_clone, CLONE_PIDFD | CLONE_DETACHED | SIGCHLD, 0, &two, 0, 0), EINVAL);
	/* Nonblocking. */
	int nb = must(syscall(SYS_pidfd_open, p, O_NONBLOCK));
	fails(waitid(P_PIDFD, nb, &si, WEXITED), EAGAIN);
	observe("WNOHANG: %s", result(waitid(P_PIDFD, nb, &si, WEXITED | WNOHANG)));
	/* A file of the child. */
	int file = must(open("shared", O_CREAT | O_RDWR, 0644));
	must(write(file, "0123456789", 10));
	pid_t q = must(fork());
	if (q == 0) {
		char c;
		read(gate[0], &c, 1);
		_exit(0);
	}
	int qfd = must(syscall(SYS_pidfd_open, q, 0));
	must(lseek(file, 4, SEEK_SET));
	int got = must(syscall(SYS_pidfd_getfd, qfd, file, 0));
	observe("got a file: position %s, close-on-exec %d", result(lseek(got, 0, SEEK_CUR)), fcntl(got, F_GETFD));
	must(lseek(got, 7, SEEK_SET));
	observe("one description: %s", result(lseek(file, 0, SEEK_CUR)));
	fails(syscall(SYS_pidfd_getfd, qfd, 999, 0), EBADF);
	fails(syscall(SYS_pidfd_getfd, qfd, file, 1), EINVAL);
	fails(syscall(SYS_pidfd_getfd, file, file, 0), EBADF);
	pid_t u = must(fork());
	if (u == 0) {
		must(setuid(1000));
		fails(syscall(SYS_pidfd_getfd, qfd, file, 0), EPERM);
		fails(syscall(SYS_pidfd_send_signal, qfd, SIGTERM, NULL, 0), EPERM);
		_exit(0);
	}
	observe("another user: %s", reap(u));
	must(syscall(SYS_pidfd_send_signal, qfd, SIGKILL, NULL, 0));
	struct pollfd pf = { qfd, POLLIN, 0 };
	must(poll(&pf, 1, 10000));
	observe("zombie: %#x", pf.revents);
	fails(syscall(SYS_pidfd_getfd, qfd, file, 0), ESRCH);
	must(waitid(P_PIDFD, qfd, &si, WEXITED | WNOWAIT));
	observe("not taken: code %d, status %d", si.si_code, si.si_status);
	must(waitid(P_PIDFD, qfd, &si, WEXITED));
	observe("taken: pid right %d", si.si_pid == q);
	pf.revents = 0;
	poll(&pf, 1, 0);
	observe("gone: readable %d, hung up %d, fdinfo %d", !!(pf.revents & POLLIN), !!(pf.revents & POLLHUP), atoi(pid_line(qfd)));
	fails(waitid(P_PIDFD, qfd, &si, WEXITED), ECHILD);
	fails(waitid(P_PIDFD, file, &si, WEXITED), EBADF);
	fails(waitid(P_PIDFD, -1, &si, WEXITED), EINVAL);
	/* A signal's own information. */
	sigset_t usr1;
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	sigprocmask(SIG_BLOCK, &usr1, NULL);
	int self = must(syscall(SYS_pidfd_open, getpid(), 0));
	memset(&si, 0, sizeof si);
	si.si_signo = SIGUSR2;
	fails(syscall(SYS_pidfd_send_signal, self, SIGUSR1, &si, 0), EINVAL);
	si.si_signo = SIGUSR1;
	si.si_code = SI_QUEUE;
	si.si_value.sival_int = 77;
	must(syscall(SYS_pidfd_send_signal, self, SIGUSR1, &si, 0));
	memset(&si, 0, sizeof si);
	must(sigwaitinfo(&usr1, &si));
	observe("signal with a value: code %d, value %d", si.si_code, si.si_value.sival_int);
	si.si_code = SI_USER;
	fails(syscall(SYS_pidfd_send_signal, fd, SIGUSR1, &si, 0), EPERM);
	fails(syscall(SYS_pidfd_send_signal, self, 99, NULL, 0), EINVAL);
	fails(syscall(SYS_pidfd_send_signal, self, 0, NULL, 0x80), EINVAL);
	/* A thread is not a process. */
	struct {
		volatile pid_t tid;
		int gate;
	} t = { 0, gate[0] };
	pthread_t th;
	pthread_create(&th, NULL, thread, &t);
	wait_until(t.tid);
	observe("pidfd_open of a thread: %d", syscall(SYS_pidfd_open, t.tid, 0) == -1);
	int tfd = must(syscall(SYS_pidfd_open, t.tid, O_EXCL)); /* PIDFD_THREAD */
	struct pollfd tp = { tfd, POLLIN, 0 };
	observe("a thread's own: running %s", result(poll(&tp, 1, 0)));
	must(write(gate[1], "gg", 2));
	observe("ended: %s", result(poll(&tp, 1, 10000)));
	pthread_join(th, NULL);
	observe("child: %s", reap(p));
	return contract_end();
}
