/*
 * vm/cow_tree: copy on write in a tree of processes that write in different orders.
 *
 * Catches: reference counts of frames that go wrong over generations: pages shared by mistake, written in place, or freed while in use.
 */
#include "contract.h"

enum { PAGE = 4096, PAGES = 24, DEPTH = 5 };

static unsigned char *m;

static void check(const unsigned char *want, const char *when)
{
	for (int i = 0; i < PAGES; i++)
		for (int k = 0; k < PAGE; k += 511)
			require(m[i * PAGE + k] == want[i], "%s: page %d has %d, not %d", when, i, m[i * PAGE + k], want[i]);
}

static int tree(int depth, int number, unsigned char *want)
{
	if (depth == 0) {
		check(want, "leaf");
		return 1;
	}
	pid_t child[2];
	int leaves = 0;
	for (int c = 0; c < 2; c++) {
		child[c] = must(fork());
		if (child[c] == 0) {
			int mine = number * 2 + c + 1;
			for (int i = mine % 3; i < PAGES; i += 3) {
				memset(m + i * PAGE, mine, PAGE);
				want[i] = mine;
			}
			check(want, "after writing");
			_exit(tree(depth - 1, mine, want));
		}
		/* The parent writes as well, between its children. */
		int i = (number + c * 7) % PAGES;
		memset(m + i * PAGE, 200 + depth, PAGE);
		want[i] = 200 + depth;
	}
	for (int c = 0; c < 2; c++) {
		int st;
		require(waitpid(child[c], &st, 0) == child[c] && WIFEXITED(st) && WEXITSTATUS(st) > 0, "a child found what it should");
		leaves += WEXITSTATUS(st);
	}
	check(want, "parent afterwards");
	return leaves;
}

int main(void)
{
	unsigned char want[PAGES];
	m = must(mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	for (int i = 0; i < PAGES; i++)
		memset(m + i * PAGE, want[i] = i + 1, PAGE);
	int leaves = tree(DEPTH, 0, want);
	observe("leaves that saw their ancestors' pages: %d", leaves);
	require(leaves == 1 << DEPTH, "all of them");
	return contract_end();
}
