/*
 * process/fork_storm: many short-lived processes, some at the same time, each with a result of its own.
 *
 * Catches: statuses mixed up between children, process ids used twice, memory of an ended process that is not given back (the
 * later children then fail).
 */
#include "contract.h"

enum { WAVES = 6, WIDTH = 10 };

int main(void)
{
	for (int wave = 0; wave < WAVES; wave++) {
		pid_t child[WIDTH];
		for (int i = 0; i < WIDTH; i++) {
			child[i] = must(fork());
			for (int k = 0; k < i; k++)
				require(child[i] == 0 || child[k] != child[i], "ids of living children differ");
			if (child[i] == 0) {
				char *m = must(mmap(NULL, 1 << 17, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
				unsigned sum = 0;
				for (int k = 0; k < 1 << 17; k += 4096) {
					sum += m[k];
					m[k] = i;
				}
				if (sum)
					_exit(255); /* somebody else's memory */
				_exit((wave * WIDTH + i) & 127);
			}
		}
		int wrong = 0;
		for (int n = 0; n < WIDTH; n++) {
			int st, i = 0;
			pid_t p = must(wait(&st));
			while (i < WIDTH && child[i] != p)
				i++;
			require(i < WIDTH, "wait answers a child");
			wrong += !WIFEXITED(st) || WEXITSTATUS(st) != ((wave * WIDTH + i) & 127);
		}
		observe("wave %d: %d children, %d wrong statuses", wave, WIDTH, wrong);
		require(!wrong, "each status is its child's");
	}
	return contract_end();
}
