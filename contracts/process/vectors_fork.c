/*
 * process/vectors_fork: a forked child starts with its parent's vector registers.
 *
 * Catches: children that start with cleared or stale vector state, or whose start overwrites the parent's.
 */
#include "vectors.h"

int main(void)
{
	struct vectors in, out;
	for (unsigned i = 0; i < 10; i++) {
		vectors_pattern(&in, i);
		memset(&out, 0, sizeof out);
#ifdef SYS_fork
		long p = vectors_syscall(&in, &out, SYS_fork, 0, 0, 0, 0);
#else
		long p = vectors_syscall(&in, &out, SYS_clone, SIGCHLD, 0, 0, 0);
#endif
		require(p >= 0, "fork");
		if (p == 0) {
			vectors_require(&in, &out, "in the child");
			_exit(7);
		}
		vectors_require(&in, &out, "in the parent");
		observe("child %s, parent preserved", reap(p));
	}
	return contract_end();
}
