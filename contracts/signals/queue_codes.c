/*
 * signals/queue_codes: values and codes that signals carry, real-time queues and their limit.
 *
 * Catches: values lost or in the wrong order, standard signals that queue, a sender or a code that is not the real one, a queue without end.
 */
#include "contract.h"
#include <sys/resource.h>
#include <pthread.h>

static siginfo_t take(int sig)
{
	sigset_t s;
	siginfo_t si;
	memset(&si, 0, sizeof si);
	sigemptyset(&s), sigaddset(&s, sig);
	struct timespec zero = { 0, 0 };
	if (sigtimedwait(&s, &si, &zero) < 0)
		si.si_signo = -errno;
	return si;
}

static const char *code(siginfo_t *si)
{
	switch (si->si_code) {
	case SI_USER: return "SI_USER";
	case SI_QUEUE: return "SI_QUEUE";
	case SI_TKILL: return "SI_TKILL";
	case SI_TIMER: return "SI_TIMER";
	case SI_KERNEL: return "SI_KERNEL";
	case SI_MESGQ: return "SI_MESGQ";
	}
	return "other";
}

int main(void)
{
	sigset_t all;
	siginfo_t si;
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	/* Real-time signals queue in order, the lowest number first. */
	for (int i = 0; i < 3; i++) {
		must(sigqueue(getpid(), SIGRTMIN + 2, (union sigval){ .sival_int = i }));
		must(sigqueue(getpid(), SIGRTMIN + 1, (union sigval){ .sival_int = 10 + i }));
		must(sigqueue(getpid(), SIGUSR1, (union sigval){ .sival_int = 100 + i }));
	}
	struct timespec zero = { 0, 0 };
	while (sigtimedwait(&all, &si, &zero) > 0)
		observe("%s%d: %s value %d, from me %d", si.si_signo >= SIGRTMIN ? "RTMIN+" : "", si.si_signo >= SIGRTMIN ? si.si_signo - SIGRTMIN : si.si_signo, code(&si), si.si_value.sival_int, si.si_pid == getpid() && si.si_uid == getuid());
	fails(sigtimedwait(&all, &si, &zero), EAGAIN);
	/* Codes. */
	kill(getpid(), SIGUSR1);
	si = take(SIGUSR1);
	observe("kill: %s", code(&si));
	syscall(SYS_tgkill, getpid(), getpid(), SIGUSR1);
	si = take(SIGUSR1);
	observe("tgkill: %s", code(&si));
	pthread_kill(pthread_self(), SIGUSR2);
	si = take(SIGUSR2);
	observe("pthread_kill: %s", code(&si));
	timer_t t;
	struct sigevent ev = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN, .sigev_value.sival_int = 55 };
	must(timer_create(CLOCK_MONOTONIC, &ev, &t));
	struct itimerspec it = { .it_value.tv_nsec = 1000 };
	must(timer_settime(t, 0, &it, NULL));
	must(sigwaitinfo(&all, &si) == SIGRTMIN ? 0 : -1);
	observe("timer: %s value %d", code(&si), si.si_value.sival_int);
	alarm(0);
	pid_t p = must(fork());
	if (p == 0)
		_exit(6);
	must(sigwaitinfo(&all, &si) == SIGCHLD ? 0 : -1);
	observe("child: code %d status %d, its number %d", si.si_code == CLD_EXITED, si.si_status, si.si_pid == p);
	reap(p);
	p = must(fork());
	if (p == 0) {
		raise(SIGSTOP);
		sigprocmask(SIG_UNBLOCK, &all, NULL);
		for (;;)
			pause();
	}
	must(sigwaitinfo(&all, &si) == SIGCHLD ? 0 : -1);
	observe("stopped: %d %d", si.si_code == CLD_STOPPED, si.si_status == SIGSTOP);
	kill(p, SIGCONT);
	must(sigwaitinfo(&all, &si) == SIGCHLD ? 0 : -1);
	observe("continued: %d %d", si.si_code == CLD_CONTINUED, si.si_status == SIGCONT);
	kill(p, SIGTERM);
	must(sigwaitinfo(&all, &si) == SIGCHLD ? 0 : -1);
	observe("killed: %d %d", si.si_code == CLD_KILLED, si.si_status == SIGTERM);
	reap(p);
	/* Who may claim what. */
	memset(&si, 0, sizeof si);
	si.si_code = SI_USER, si.si_pid = 1234;
	p = must(fork());
	if (p == 0)
		for (;;)
			pause();
	fails(syscall(SYS_rt_sigqueueinfo, p, SIGUSR1, &si), EPERM);
	si.si_code = SI_TKILL;
	fails(syscall(SYS_rt_sigqueueinfo, p, SIGUSR1, &si), EPERM);
	si.si_code = -60;
	observe("any negative code: %s", ok(syscall(SYS_rt_sigqueueinfo, p, SIGUSR1, &si)));
	si.si_code = SI_USER;
	observe("to oneself: %s", ok(syscall(SYS_rt_sigqueueinfo, getpid(), SIGUSR1, &si)));
	si = take(SIGUSR1);
	observe("as claimed: %d", si.si_pid);
	kill(p, SIGKILL);
	reap(p);
	take(SIGCHLD);
	/* The limit. */
	struct rlimit r = { 4, 4 };
	p = must(fork());
	if (p == 0) {
		must(setrlimit(RLIMIT_SIGPENDING, &r));
		must(setuid(12345)); /* a user with nothing pending */
		int n = 0;
		while (n < 50 && sigqueue(getpid(), SIGRTMIN, (union sigval){ .sival_int = n }) == 0)
			n++;
		observe("queued %d, then %s", n, errno_name(errno));
		observe("a standard signal gets through: %s", ok(kill(getpid(), SIGUSR1)));
		siginfo_t last = take(SIGUSR1);
		observe("taken %d", last.si_signo == SIGUSR1);
		_exit(0);
	}
	observe("%s", reap(p));
	fails(sigqueue(getpid(), 65, (union sigval){ 0 }), EINVAL);
	fails(sigqueue(99999999, SIGUSR1, (union sigval){ 0 }), ESRCH);
	observe("signal 0: %s", ok(sigqueue(getpid(), 0, (union sigval){ 0 })));
	return contract_end();
}
