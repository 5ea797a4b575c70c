/*
 * programs/coroutines: user-level threads by makecontext and swapcontext, and by longjmp, with signals and faults in between.
 *
 * Catches: contexts whose signal mask, vector state or stack is not what was saved; stacks of mmap taken for the thread's own; a handler on an
 * alternate stack that jumps away and leaves it taken.
 *
 * Libc: glibc
 * Flags: -lm
 */
#include "contract.h"
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <sys/time.h>
#include <ucontext.h>

enum { COROUTINES = 20, ROUNDS = 50, STACK = 64 << 10 };

static ucontext_t scheduler, context[COROUTINES];
static int current, finished;
static double results[COROUTINES];

static void yield(void) { must(swapcontext(&context[current], &scheduler)); }

static double walk(int depth, double x)
{
	char filler[512];
	memset(filler, depth, sizeof filler);
	if (depth == 0) {
		yield();
		return x;
	}
	double r = walk(depth - 1, x * 1.5) / 1.5;
	require(filler[100] == (char)depth, "a coroutine's stack keeps its contents");
	return r;
}

static void body(int id)
{
	double x = id + 0.25;
	for (int i = 0; i < ROUNDS; i++) {
		x = sqrt(x * x + 1.0);
		x = walk(i % 12, x);
	}
	results[id] = x;
	finished++;
}

static void schedule(void)
{
	for (volatile int i = 0; i < COROUTINES; i++) {
		must(getcontext(&context[i]));
		context[i].uc_stack.ss_sp = must(mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0));
		context[i].uc_stack.ss_size = STACK;
		context[i].uc_link = &scheduler;
		makecontext(&context[i], (void (*)(void))body, 1, i);
	}
	int done[COROUTINES] = { 0 };
	while (finished < COROUTINES)
		for (current = 0; current < COROUTINES; current++) {
			if (done[current])
				continue;
			int before = finished;
			must(swapcontext(&scheduler, &context[current]));
			done[current] = finished > before;
		}
}

static volatile int ticks;
static void tick(int s) { (void)s; ticks++; }

static sigjmp_buf out;
static volatile int faults;
static void fault(int s, siginfo_t *si, void *uc)
{
	(void)s, (void)si, (void)uc;
	faults++;
	siglongjmp(out, 1);
}

static void *in_thread(void *x)
{
	static __thread jmp_buf back;
	volatile long n = 0;
	for (long i = 0; i < 1000; i++) {
		if (setjmp(back) == 0) {
			n += (long)x;
			longjmp(back, 1);
		} else {
			n++;
		}
	}
	return (void *)n;
}

int main(void)
{
	struct sigaction a = { .sa_handler = tick, .sa_flags = SA_RESTART };
	must(sigaction(SIGALRM, &a, NULL));
	struct itimerval every = { { 0, 1000 }, { 0, 1000 } }, never = { { 0, 0 }, { 0, 0 } };
	must(setitimer(ITIMER_REAL, &every, NULL));
	schedule();
	wait_until(ticks > 3);
	must(setitimer(ITIMER_REAL, &never, NULL));
	double sum = 0;
	for (int i = 0; i < COROUTINES; i++)
		sum += results[i];
	observe("coroutines: %d finished, sum %.6f, interrupted: %s", finished, sum, ticks ? "yes" : "no");

	/* Contexts carry the signal mask. */
	sigset_t m, now;
	ucontext_t here;
	volatile int again = 0;
	sigemptyset(&m);
	sigaddset(&m, SIGUSR1);
	sigprocmask(SIG_BLOCK, &m, NULL);
	must(getcontext(&here));
	sigprocmask(SIG_SETMASK, NULL, &now);
	observe("mask %s: SIGUSR1 blocked %d", again ? "after setcontext" : "before", sigismember(&now, SIGUSR1));
	if (!again) {
		again = 1;
		sigprocmask(SIG_UNBLOCK, &m, NULL);
		setcontext(&here);
	}

	/* Out of handlers on the alternate stack, again and again. */
	stack_t alt = { .ss_sp = malloc(32 << 10), .ss_size = 32 << 10 };
	must(sigaltstack(&alt, NULL));
	struct sigaction f = { .sa_sigaction = fault, .sa_flags = SA_SIGINFO | SA_ONSTACK };
	must(sigaction(SIGSEGV, &f, NULL));
	char *hole = must(mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	for (volatile int i = 0; i < 100; i++)
		if (sigsetjmp(out, 1) == 0)
			*(volatile char *)hole = 1;
	stack_t old;
	must(sigaltstack(NULL, &old));
	observe("faults left by a jump: %d, alternate stack in use: %d", faults, (old.ss_flags & SS_ONSTACK) != 0);

	pthread_t t[6];
	long total = 0;
	for (long i = 0; i < 6; i++)
		require(!pthread_create(&t[i], NULL, in_thread, (void *)i), "pthread_create");
	for (int i = 0; i < 6; i++) {
		void *r;
		pthread_join(t[i], &r);
		total += (long)r;
	}
	observe("jumps in threads: %ld", total);
	return contract_end();
}
