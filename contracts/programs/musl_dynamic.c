/*
 * programs/musl_dynamic: a program of the other C library, whose loader and library are one file.
 *
 * Catches: an interpreter that relocates itself and finds its program headers wrong, a break that is where the interpreter lies, and
 * thread stacks that are mapped over it.
 *
 * Link: dynamic
 * Libc: musl
 */
#include "dynamic.h"

#ifdef __x86_64__
#define LOADER "/contracts/.lib-musl/ld-musl-x86_64.so.1"
#else
#define LOADER "/contracts/.lib-musl/ld-musl-aarch64.so.1"
#endif

__attribute__((destructor)) static void last(void)
{
	observe("destructor after main: %s", order);
	contract_end();
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "child")) {
		observe("child: %s, constructors %s", argv[1], order);
		_exit(3);
	}
	observe("constructors: %s", order);
	look(LOADER);
	threads();
	for (int i = 0; i < 300; i++) { /* the allocator's way through brk and mmap */
		size_t n = (size_t)i * i * 7 + 1;
		unsigned char *p = malloc(n);
		require(p, "malloc");
		memset(p, i, n);
		require(p[n / 2] == (unsigned char)i, "memory keeps its contents");
		if (i % 3)
			free(p);
	}
	observe("a symbol of the program itself: %s", dlsym(RTLD_DEFAULT, "malloc") ? "found" : "missing");
	children(LOADER);
	note('m');
	return 0;
}
