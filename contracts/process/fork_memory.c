/*
 * process/fork_memory: after fork, private memory is separate and shared memory is one.
 *
 * Catches: copy on write that copies on one side only, a page left writable in the parent, a shared mapping
 * that fork makes private, grandchildren that see what a sibling wrote.
 */
#include "contract.h"
#include <sys/mman.h>

static int global = 1;

int main(void)
{
	int local = 1, *heap = malloc(sizeof *heap);
	int *private = must(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	volatile int *shared = must(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	*heap = *private = 1;

	pid_t p = must(fork());
	if (p == 0) {
		global = local = *heap = *private = 2;
		shared[0] = 2;
		pid_t q = must(fork());
		if (q == 0) {
			observe("grandchild: %d %d %d %d shared %d", global, local, *heap, *private, shared[0]);
			global = local = *heap = *private = 3;
			shared[1] = 3;
			_exit(0);
		}
		observe("grandchild ended: %s", reap(q));
		observe("child: %d %d %d %d shared %d %d", global, local, *heap, *private, shared[0], shared[1]);
		require(global == 2 && local == 2 && *heap == 2 && *private == 2, "the child keeps its own");
		_exit(5);
	}
	observe("child ended: %s", reap(p));
	observe("parent: %d %d %d %d shared %d %d", global, local, *heap, *private, shared[0], shared[1]);
	require(global == 1 && local == 1 && *heap == 1 && *private == 1, "the parent's private memory is its own");
	require(shared[0] == 2 && shared[1] == 3, "shared memory is shared");

	/* The parent writes first this time. */
	int ready[2];
	must(pipe(ready));
	p = must(fork());
	if (p == 0) {
		char c;
		read(ready[0], &c, 1);
		_exit(global == 1 && *heap == 1 ? 0 : 1);
	}
	global = *heap = 9;
	write(ready[1], "x", 1);
	const char *end = reap(p);
	observe("child that reads after its parent wrote: %s", end);
	require(!strcmp(end, "exit 0"), "the child has what was there at fork");
	return contract_end();
}
