/*
 * dynamic.h: what a program with a dynamic loader can see of how it was started. The same checks for each C library.
 */
#ifndef DYNAMIC_H
#define DYNAMIC_H

#include "contract.h"
#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <pthread.h>
#include <sys/auxv.h>

static char order[64]; /* a letter for each thing that ran, in turn */
static void note(char c) { order[strlen(order)] = c; }
__attribute__((constructor(101))) static void first(void) { note('1'); }
__attribute__((constructor(102))) static void second(void) { note('2'); }

static __thread int tls_initialised = 77;
static __thread char tls_zero[100];

static void *thread(void *x)
{
	require(tls_initialised == 77 && tls_zero[99] == 0, "a thread's variables begin as in the file");
	tls_initialised = (int)(long)x;
	tls_zero[99] = 1;
	return (void *)(long)(tls_initialised * 2);
}

struct mapped { const char *name; unsigned long base; int found, executable; };

/* in_maps looks for a file in /proc/self/maps, and whether a mapping of it begins at base. */
static struct mapped in_maps(const char *name, unsigned long base)
{
	struct mapped m = { .name = name, .base = base };
	char line[512], permissions[8];
	FILE *f = fopen("/proc/self/maps", "r");
	require(f, "open /proc/self/maps");
	while (fgets(line, sizeof line, f)) {
		unsigned long start, end;
		if (!strstr(line, name) || sscanf(line, "%lx-%lx %7s", &start, &end, permissions) != 3)
			continue;
		if (start == base)
			m.found = 1;
		if (permissions[2] == 'x')
			m.executable = 1;
	}
	fclose(f);
	return m;
}

static int count(struct dl_phdr_info *info, size_t size, void *x)
{
	(void)size;
	int *n = x;
	for (int i = 0; i < info->dlpi_phnum; i++)
		if (info->dlpi_phdr[i].p_type == PT_DYNAMIC)
			++*n;
	return 0;
}

/* look checks the kernel's part: auxiliary vector and mappings. loader is the interpreter's path. */
static void look(const char *loader)
{
	const ElfW(Phdr) *ph = (void *)getauxval(AT_PHDR);
	unsigned long base = getauxval(AT_BASE);
	const char *interp = NULL;
	unsigned long bias = 0;
	for (unsigned long i = 0; i < getauxval(AT_PHNUM); i++)
		if (ph[i].p_type == PT_PHDR)
			bias = (unsigned long)ph - ph[i].p_vaddr;
	for (unsigned long i = 0; i < getauxval(AT_PHNUM); i++)
		if (ph[i].p_type == PT_INTERP)
			interp = (const char *)(bias + ph[i].p_vaddr);
	require(interp, "the program has a PT_INTERP");
	observe("interpreter: %s", interp);
	require(!strcmp(interp, loader), "the interpreter is the one the contract was built for");
	require(base && base % 4096 == 0 && !memcmp((void *)base, ELFMAG, SELFMAG), "AT_BASE is where the interpreter lies");
	struct mapped m = in_maps(strrchr(loader, '/'), base);
	observe("interpreter in maps: at AT_BASE %d, executable %d", m.found, m.executable);
	unsigned long entry = getauxval(AT_ENTRY);
	require(entry > bias && (entry < base || bias > base), "AT_ENTRY is the program's, not the interpreter's");
	observe("AT_EXECFN: %s, page size %lu", (char *)getauxval(AT_EXECFN), getauxval(AT_PAGESZ));
	int objects = 0;
	dl_iterate_phdr(count, &objects);
	observe("several objects are loaded: %d", objects >= 2);
}

static void threads(void)
{
	pthread_t t[8];
	long sum = 0;
	for (long i = 0; i < 8; i++)
		require(!pthread_create(&t[i], NULL, thread, (void *)(i + 1)), "pthread_create");
	for (int i = 0; i < 8; i++) {
		void *r;
		pthread_join(t[i], &r);
		sum += (long)r;
	}
	observe("thread variables: sum %ld, main's %d %d", sum, tls_initialised, tls_zero[99]);
}

/* children runs the program again: by itself, and as an argument of the loader. */
static void children(const char *loader)
{
	char *const by_itself[] = { "again", "child", NULL };
	char *const by_loader[] = { (char *)loader, "/proc/self/exe", "child", NULL };
	char self[256];
	ssize_t n = must(readlink("/proc/self/exe", self, sizeof self - 1));
	self[n] = 0;
	for (int i = 0; i < 2; i++) {
		pid_t p = must(fork());
		if (p == 0) {
			if (i == 0)
				execv(self, by_itself);
			char *args[] = { by_loader[0], self, "child", NULL };
			execv(loader, args);
			_exit(127);
		}
		observe("%s: %s", i ? "started by the loader" : "started again", reap(p));
	}
}

#endif
