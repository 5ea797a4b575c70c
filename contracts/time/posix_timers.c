/*
 * time/posix_timers: timer_create with signals and values, overruns, absolute times.
 *
 * Catches: timers that children inherit, overruns not counted, sigev_value lost, deleted timers that fire.
 */
#include "contract.h"

static volatile int fired, value, code;
static void handler(int s, siginfo_t *si, void *c) { (void)s, (void)c; fired++; value = si->si_value.sival_int; code = si->si_code; }

int main(void)
{
	timer_t t;
	struct sigaction a = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO };
	struct sigevent e = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 1, .sigev_value = { .sival_int = 33 } };
	struct itimerspec s = { { 0, 0 }, { 0, 10000000 } }, old;
	sigaction(SIGRTMIN + 1, &a, NULL);
	must(timer_create(CLOCK_MONOTONIC, &e, &t));
	must(timer_gettime(t, &old));
	observe("new timer: %ld %ld", (long)old.it_value.tv_sec, old.it_value.tv_nsec);
	must(timer_settime(t, 0, &s, NULL));
	wait_until(fired);
	observe("fired %d, value %d, code %s", fired, value, code == SI_TIMER ? "SI_TIMER" : "?");
	sigset_t block;
	sigemptyset(&block);
	sigaddset(&block, SIGRTMIN + 1);
	sigprocmask(SIG_BLOCK, &block, NULL);
	s = (struct itimerspec){ { 0, 2000000 }, { 0, 2000000 } };
	must(timer_settime(t, 0, &s, NULL));
	usleep(50000);
	fired = 0;
	siginfo_t si;
	int sig = sigwaitinfo(&block, &si);
	observe("one signal: %d, overruns at least 10: %d", sig == SIGRTMIN + 1, si.si_overrun >= 10);
	must(timer_delete(t));
	sigprocmask(SIG_UNBLOCK, &block, NULL);
	fired = 0;
	usleep(20000);
	observe("deleted: fired %d", fired);
	fails(syscall(SYS_timer_delete, t), EINVAL);
	fails(timer_create(99, &e, &t), EINVAL);
	e.sigev_notify = SIGEV_NONE;
	must(timer_create(CLOCK_REALTIME, &e, &t));
	s = (struct itimerspec){ { 0, 0 }, { 50, 0 } };
	must(timer_settime(t, 0, &s, NULL));
	must(timer_gettime(t, &old));
	observe("SIGEV_NONE counts down: %d", old.it_value.tv_sec >= 40 && old.it_value.tv_sec <= 50);
	pid_t p = must(fork());
	if (p == 0)
		_exit(timer_gettime(t, &old) == -1 && errno == EINVAL ? 0 : 1);
	observe("not inherited: %s", reap(p));
	return contract_end();
}
