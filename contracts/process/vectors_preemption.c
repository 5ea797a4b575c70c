/*
 * process/vectors_preemption: processes that share processors never see each other's vector registers.
 *
 * Catches: a switch in the timer interrupt that saves no vector state, or restores it lazily for the wrong task.
 */
#include "vectors.h"

enum { PROCESSES = 6, ROUNDS = 60 };

int main(void)
{
	pid_t child[PROCESSES];
	for (int c = 0; c < PROCESSES; c++) {
		child[c] = must(fork());
		if (child[c])
			continue;
		struct vectors in, out;
		for (int i = 0; i < ROUNDS; i++) {
			vectors_pattern(&in, c * ROUNDS + i);
			vectors_spin(&in, &out, 300000);
			vectors_require(&in, &out, "while computing");
			vectors_syscall(&in, &out, SYS_sched_yield, 0, 0, 0, 0);
			vectors_require(&in, &out, "across sched_yield");
		}
		_exit(c);
	}
	for (int c = 0; c < PROCESSES; c++)
		observe("process %d: %s", c, reap(child[c]));
	return contract_end();
}
