/*
 * vm/maps: /proc/self/maps tells the truth: borders, permissions, offsets, files, and one line for what is alike.
 *
 * Catches: VMAs that do not merge or split where Linux's do, [stack] and [heap] missing, wrong offsets after a split.
 */
#include "contract.h"

enum { PAGE = 4096 };

/* show prints the lines within a range, addresses in pages from its start. */
static void show(const char *what, char *from, int pages)
{
	char line[512];
	FILE *f = fopen("/proc/self/maps", "r");
	require(f, "/proc/self/maps");
	observe("%s:", what);
	while (fgets(line, sizeof line, f)) {
		unsigned long a, b, offset, inode;
		char perms[8], device[16], path[256] = "";
		int n = sscanf(line, "%lx-%lx %7s %lx %15s %lu %255[^\n]", &a, &b, perms, &offset, device, &inode, path);
		require(n >= 6, "a line has six fields: %s", line);
		if (a < (unsigned long)(from + pages * PAGE) && b > (unsigned long)from) {
			const char *name = strrchr(path, '/');
			observe("  %ld-%ld %s offset %lx %s", (long)(a - (unsigned long)from) / PAGE, (long)(b - (unsigned long)from) / PAGE, perms, offset, name ? name : path);
		}
	}
	fclose(f);
}

int main(void)
{
	char line[512];
	char *area = must(mmap(NULL, 64 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	char *m = area + 16 * PAGE; /* walls of PROT_NONE around */
	must(mmap(m, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	show("one mapping", m, 8);
	must(mprotect(m + 2 * PAGE, 2 * PAGE, PROT_READ));
	show("split by mprotect", m, 8);
	must(mprotect(m + 2 * PAGE, 2 * PAGE, PROT_READ | PROT_WRITE));
	show("merged again", m, 8);
	must(munmap(m + 4 * PAGE, PAGE));
	show("hole", m, 8);
	must(mmap(m + 4 * PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	show("hole filled", m, 8);
	int fd = must(open("a file", O_RDWR | O_CREAT, 0600));
	must(ftruncate(fd, 8 * PAGE));
	must(mmap(m, 6 * PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, fd, PAGE));
	show("file", m, 8);
	must(munmap(m + 2 * PAGE, PAGE));
	must(mprotect(m + 4 * PAGE, PAGE, PROT_READ | PROT_WRITE));
	show("file, split", m, 8);
	unlink("a file");
	show("file, unlinked", m, 2);

	int heap = 0, stack = 0, text = 0;
	void *p = malloc(10);
	FILE *f = fopen("/proc/self/maps", "r");
	while (fgets(line, sizeof line, f)) {
		unsigned long a, b;
		char perms[8];
		sscanf(line, "%lx-%lx %7s", &a, &b, perms);
		if (strstr(line, "[stack]"))
			stack = (unsigned long)&heap >= a && (unsigned long)&heap < b;
		if (strstr(line, "[heap]"))
			heap = 1;
		if ((unsigned long)main >= a && (unsigned long)main < b)
			text = !strcmp(perms, "r-xp");
	}
	fclose(f);
	free(p);
	observe("[stack] holds the stack %d, [heap] %d, text is r-xp %d", stack, heap, text);
	require(stack && text, "the stack and the text have their lines");
	return contract_end();
}
