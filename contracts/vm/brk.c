/*
 * vm/brk: the program break.
 *
 * Catches: memory above the break that stays, contents that are not zero when it grows again, errors instead of the old break.
 */
#include "contract.h"

int main(void)
{
	char *start = (char *)syscall(SYS_brk, 0);
	require(start && (long)start > 4096, "there is a break");
	char *end = (char *)syscall(SYS_brk, start + 5 * 4096 + 123);
	observe("grew by: %ld", (long)(end - start));
	memset(start, 7, end - start);
	observe("shrunk to: %ld", (long)((char *)syscall(SYS_brk, start + 4096) - start));
	observe("kept: %d", start[0]);
	syscall(SYS_brk, start + 5 * 4096);
	int sum = 0;
	for (int i = 2 * 4096; i < 5 * 4096; i++)
		sum += start[i];
	observe("grown again, sum of the new part: %d", sum);
	require(sum == 0, "new memory is zero");
	observe("below the start: %s", (char *)syscall(SYS_brk, 4096) == start + 5 * 4096 ? "break unchanged" : "moved");
	observe("absurd: %s", (char *)syscall(SYS_brk, -4096L) == start + 5 * 4096 ? "break unchanged" : "moved");
	pid_t p = must(fork());
	if (p == 0) {
		observe("child's break: %s", (char *)syscall(SYS_brk, 0) == start + 5 * 4096 ? "same" : "other");
		syscall(SYS_brk, start + 9 * 4096);
		start[0] = 9;
		_exit(0);
	}
	reap(p);
	observe("parent's break: %s, memory %d", (char *)syscall(SYS_brk, 0) == start + 5 * 4096 ? "same" : "moved", start[0]);
	return contract_end();
}
