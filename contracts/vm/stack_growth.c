/*
 * vm/stack_growth: the stack grows down to its limit and not through its guard.
 *
 * Catches: a stack of fixed size, growth beyond RLIMIT_STACK, a missing SIGSEGV when it ends.
 */
#include "contract.h"
#include <sys/resource.h>

__attribute__((noinline)) static int deep(int kib)
{
	volatile char frame[1024];
	frame[0] = kib;
	return kib <= 0 ? 0 : deep(kib - 1) + (frame[0] != (char)kib);
}

int main(void)
{
	struct rlimit r = { 8 << 20, RLIM_INFINITY };
	must(setrlimit(RLIMIT_STACK, &r));
	observe("4 MiB deep: %d wrong", deep(3500));
	pid_t p = must(fork());
	if (p == 0)
		_exit(deep(20000));
	observe("20 MiB deep: %s", reap(p));
	r.rlim_cur = 1 << 20;
	must(setrlimit(RLIMIT_STACK, &r));
	p = must(fork());
	if (p == 0) {
		/* exec makes a new stack, whose limit is this one. Fault far below the pointer: no red tape, it grows. */
		_exit(deep(500));
	}
	observe("500 KiB with a limit of 1 MiB: %s", reap(p));
	volatile char *below = (char *)__builtin_frame_address(0) - (64 << 20);
	p = must(fork());
	if (p == 0)
		_exit(*below);
	observe("64 MiB below: %s", reap(p));
	return contract_end();
}
