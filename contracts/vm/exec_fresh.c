/*
 * vm/exec_fresh: a new program starts with nothing of the old one's memory, and with .bss and tail zero.
 *
 * Catches: frames of the old program that show through, a .bss that is not cleared, mappings that survive execve.
 */
#include "contract.h"

static char bss[100000];
static char data[5000] = { 1 };

int main(int argc, char **argv)
{
	if (argc > 1) {
		int dirty = 0;
		for (unsigned i = 0; i < sizeof bss; i++)
			dirty += bss[i] != 0;
		for (unsigned i = 1; i < sizeof data; i++)
			dirty += data[i] != 0;
		unsigned char v;
		char *old = (char *)strtoul(argv[1], NULL, 16);
		observe("dirty bytes: %d, data[0] %d, the old mapping: %s", dirty, data[0], ok(mincore(old, 4096, &v)));
		char *fresh = must(mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
		for (int i = 0; i < 1 << 20; i++)
			dirty += fresh[i] != 0;
		observe("with new memory: %d", dirty);
		return dirty ? 1 : 4;
	}
	for (int i = 0; i < 3; i++) {
		pid_t p = must(fork());
		if (p == 0) {
			char *m = must(mmap((void *)0x600000000000, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
			memset(m, 0xaa, 1 << 20);
			memset(bss, 0xaa, sizeof bss);
			memset(data, 0xaa, sizeof data);
			execl("/proc/self/exe", argv[0], "600000000000", NULL);
			_exit(99);
		}
		const char *end = reap(p);
		observe("%s", end);
		require(!strcmp(end, "exit 4"), "nothing of the old program is left");
	}
	return contract_end();
}
