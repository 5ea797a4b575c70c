/*
 * process/syscall_numbers: calls that do not exist, and the edges of the table.
 *
 * Catches: a table indexed without a check, numbers sign-extended, an answer other than ENOSYS.
 */
#include "contract.h"

int main(void)
{
	static const long numbers[] = { 600, 1000, 0x3fffffff, 0x7fffffff, -1, -2, -4096, 0x100000000 + 100000 };
	for (unsigned i = 0; i < sizeof numbers / sizeof *numbers; i++) {
		errno = 0;
		long r = syscall(numbers[i], 1, 2, 3, 4, 5, 6);
		observe("%#lx: %s", numbers[i], result(r));
		require(r == -1 && errno == ENOSYS, "unknown calls answer ENOSYS");
	}
	/* A number is 32 bits wide: what stands above is not looked at. */
	long high = syscall(SYS_getpid + (7L << 32));
	observe("getpid with high bits: %s", high == getpid() ? "the pid" : result(high));
	observe("known calls still work: %d", getpid() > 0);
	return contract_end();
}
