/*
 * signals/kill_forms: whom kill, tgkill, tkill and raise reach.
 *
 * Catches: kill(0) that reaches another group, kill(-1) that hits the caller, tgkill to a thread of another process.
 */
#include "contract.h"
#include <pthread.h>

static volatile pid_t handled_by;
static volatile int got;
static void handler(int s) { (void)s; handled_by = gettid(); got++; }

static volatile pid_t other;
static volatile int stop;
static void *thread(void *x)
{
	other = gettid();
	while (!stop)
		usleep(1000);
	return x;
}

int main(void)
{
	int up[2];
	char c;
	must(pipe(up));
	fails(kill(999999, 0), ESRCH);
	fails(kill(getpid(), 65), EINVAL);
	fails(kill(getpid(), -1), EINVAL);
	fails(syscall(SYS_tgkill, getpid(), 999999, 0), ESRCH);
	fails(syscall(SYS_tgkill, 1, gettid(), 0), ESRCH);
	fails(syscall(SYS_tgkill, -1, gettid(), 0), EINVAL);
	fails(syscall(SYS_tkill, 0, 0), EINVAL);

	signal(SIGUSR1, handler);
	pthread_t t;
	pthread_create(&t, NULL, thread, NULL);
	wait_until(other);
	must(syscall(SYS_tgkill, getpid(), other, SIGUSR1));
	wait_until(got == 1);
	observe("tgkill to the other thread: handled by %s", handled_by == other ? "it" : "somebody else");
	require(handled_by == other, "tgkill names a thread");
	raise(SIGUSR1);
	observe("raise: handled by %s", handled_by == gettid() ? "the caller" : "somebody else");
	sigset_t s;
	sigemptyset(&s);
	sigaddset(&s, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &s, NULL);
	must(kill(getpid(), SIGUSR1));
	wait_until(got == 3);
	observe("kill while the caller blocks it: handled by %s", handled_by == other ? "the other thread" : "somebody else");
	pthread_sigmask(SIG_UNBLOCK, &s, NULL);
	stop = 1;
	pthread_join(t, NULL);

	/* A group of its own with two members. */
	pid_t p = must(fork());
	if (p == 0) {
		setpgid(0, 0);
		signal(SIGUSR1, SIG_IGN);
		pid_t q = must(fork());
		if (q == 0) {
			signal(SIGUSR1, SIG_DFL);
			write(up[1], "x", 1);
			pause();
		}
		read(up[0], &c, 1);
		must(kill(0, SIGUSR1));
		observe("kill(0): member %s", reap(q));
		_exit(6);
	}
	observe("sender: %s; this process got %d more", reap(p), got - 3);
	require(got == 3, "kill(0) stays in the group");
	return contract_end();
}
