/*
 * programs/glibc_dynamic: a program whose C library is loaded when it starts, and which loads another library itself.
 *
 * Catches: an interpreter that is mapped at the wrong place or with wrong protections, a wrong AT_BASE, AT_PHDR or AT_ENTRY, private file
 * mappings that lose their zeroed ends, relocations that do not survive fork.
 *
 * Link: dynamic
 * Libc: glibc
 */
#include "dynamic.h"
#include <math.h>
#include <setjmp.h>

#ifdef __x86_64__
#define LOADER "/contracts/.lib-glibc/ld-linux-x86-64.so.2"
#else
#define LOADER "/contracts/.lib-glibc/ld-linux-aarch64.so.1"
#endif

static int cleaned;
static void cleanup(void *x) { (void)x; cleaned = 1; }

static void *cancelled(void *x)
{
	pthread_cleanup_push(cleanup, NULL);
	for (;;)
		pause();
	pthread_cleanup_pop(0);
	return x;
}

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

	void *m = dlopen("libm.so.6", RTLD_NOW);
	require(m, "dlopen libm.so.6: %s", dlerror());
	double (*cosine)(double) = (double (*)(double))dlsym(m, "cos");
	require(cosine, "dlsym cos");
	observe("cos from a library loaded later: %.6f", cosine(1.0));
	observe("dlopen of nothing: %s", dlopen("libnothing.so.9", RTLD_NOW) ? "loaded" : "refused");
	Dl_info info;
	observe("dladdr: %s", dladdr((void *)cosine, &info) ? strrchr(info.dli_fname, '/') + 1 : "unknown");
	observe("dlclose: %d", dlclose(m));

	/* Unwinding for cancellation loads libgcc_s from within the C library. */
	pthread_t t;
	void *r;
	require(!pthread_create(&t, NULL, cancelled, NULL) && !pthread_cancel(t) && !pthread_join(t, &r), "a thread to cancel");
	observe("cancelled: %d, cleaned up: %d", r == PTHREAD_CANCELED, cleaned);

	children(LOADER);
	note('m');
	return 0;
}
