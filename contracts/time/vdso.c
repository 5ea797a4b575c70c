/*
 * time/vdso: the functions of the vDSO (vdso(7)) are found by name and version, and tell the time that the system calls tell.
 *
 * Catches: a vDSO without hash table or versions, whose clock has another zero or another speed than the kernel's, that runs backwards across
 * processors, or that does not pass clocks on which it does not know.
 */
#include "contract.h"
#include <elf.h>
#include <link.h>
#include <sys/auxv.h>
#include <sys/time.h>
#include <time.h>

#ifdef __x86_64__
#define VERSION "LINUX_2.6"
#define NAME(n) "__vdso_" n
#else
#define VERSION "LINUX_2.6.39"
#define NAME(n) "__kernel_" n
#endif

static const char *base;

static ElfW(Addr) dynamic(const ElfW(Dyn) *d, ElfW(Sxword) tag)
{
	for (; d->d_tag != DT_NULL; d++)
		if (d->d_tag == tag)
			return d->d_un.d_ptr;
	return 0;
}

/* find looks a function up as a dynamic linker would, by a walk over all symbols. */
static void *find(const char *name)
{
	const ElfW(Ehdr) *e = (const void *)base;
	const ElfW(Phdr) *p = (const void *)(base + e->e_phoff);
	const ElfW(Dyn) *d = NULL;
	ElfW(Addr) load = 0;
	for (int i = 0; i < e->e_phnum; i++) {
		if (p[i].p_type == PT_LOAD && !load)
			load = (ElfW(Addr))base + p[i].p_offset - p[i].p_vaddr;
		if (p[i].p_type == PT_DYNAMIC)
			d = (const void *)(base + p[i].p_offset);
	}
	if (!d)
		return NULL;
	const char *strings = (const char *)load + dynamic(d, DT_STRTAB);
	const ElfW(Sym) *symbols = (const void *)(load + dynamic(d, DT_SYMTAB));
	const uint16_t *versions = (const void *)(load + dynamic(d, DT_VERSYM));
	ElfW(Addr) at = load + dynamic(d, DT_VERDEF);
	int wanted = -1;
	for (;;) {
		const ElfW(Verdef) *v = (const void *)at;
		const ElfW(Verdaux) *a = (const void *)(at + v->vd_aux);
		if (!(v->vd_flags & VER_FLG_BASE) && !strcmp(strings + a->vda_name, VERSION))
			wanted = v->vd_ndx & 0x7fff;
		if (!v->vd_next)
			break;
		at += v->vd_next;
	}
	/* The symbol table ends where the string table begins in every vDSO there has been, ours included; names are checked anyway. */
	for (int i = 1; (const char *)&symbols[i] < strings && i < 64; i++)
		if (symbols[i].st_shndx != SHN_UNDEF && !strcmp(strings + symbols[i].st_name, name))
			return (versions[i] & 0x7fff) == wanted ? (void *)(load + symbols[i].st_value) : NULL;
	return NULL;
}

static long long ns(const struct timespec *t) { return t->tv_sec * 1000000000ll + t->tv_nsec; }

static void mappings(void)
{
	char line[512];
	FILE *f = fopen("/proc/self/maps", "r");
	if (!f)
		return;
	while (fgets(line, sizeof line, f)) {
		unsigned long from, to;
		char prot[8];
		if (strstr(line, "[vdso]") && sscanf(line, "%lx-%lx %7s", &from, &to, prot) == 3)
			observe("[vdso]: %s, the header is at its start: %s", prot, from == (unsigned long)base ? "yes" : "no");
		if (strstr(line, "[vvar]") && sscanf(line, "%lx-%lx %7s", &from, &to, prot) == 3)
			observe("[vvar]: %s", prot);
	}
	fclose(f);
}

int main(void)
{
	base = (const char *)getauxval(AT_SYSINFO_EHDR);
	require(base != NULL, "AT_SYSINFO_EHDR");
	if (!base)
		return contract_end();
	observe("an ELF file: %s", memcmp(base, ELFMAG, SELFMAG) ? "no" : "yes");
	mappings();

	int (*gettime)(clockid_t, struct timespec *) = find(NAME("clock_gettime"));
	int (*getres)(clockid_t, struct timespec *) = find(NAME("clock_getres"));
	int (*gettimeofday_)(struct timeval *, void *) = find(NAME("gettimeofday"));
	observe("clock_gettime %d, clock_getres %d, gettimeofday %d", gettime != NULL, getres != NULL, gettimeofday_ != NULL);
	require(gettime && getres && gettimeofday_, "the functions are there");
	if (!gettime || !getres || !gettimeofday_)
		return contract_end();

	static const struct { clockid_t id; const char *name; } clocks[] = {
		{ CLOCK_REALTIME, "REALTIME" }, { CLOCK_MONOTONIC, "MONOTONIC" }, { CLOCK_MONOTONIC_RAW, "MONOTONIC_RAW" },
		{ CLOCK_BOOTTIME, "BOOTTIME" }, { CLOCK_TAI, "TAI" },
	};
	for (unsigned i = 0; i < sizeof clocks / sizeof clocks[0]; i++) {
		int ordered = 1;
		for (int n = 0; n < 1000; n++) {
			struct timespec a, b, c;
			if (gettime(clocks[i].id, &a) || syscall(SYS_clock_gettime, clocks[i].id, &b) || gettime(clocks[i].id, &c))
				ordered = 0;
			else if (ns(&a) > ns(&b) || ns(&b) > ns(&c) || ns(&c) - ns(&a) > 2000000000ll || a.tv_nsec < 0 || a.tv_nsec > 999999999)
				ordered = 0;
		}
		observe("%s: vDSO, system call, vDSO in this order: %s", clocks[i].name, ordered ? "yes" : "no");
	}
	struct timespec t, u;
	struct timeval v;
	require(gettimeofday_(&v, NULL) == 0 && clock_gettime(CLOCK_REALTIME, &t) == 0, "gettimeofday");
	long long behind = ns(&t) - (v.tv_sec * 1000000000ll + v.tv_usec * 1000ll);
	observe("gettimeofday is the real-time clock: %s", behind >= 0 && behind < 2000000000ll && v.tv_usec < 1000000 ? "yes" : "no");
	observe("process CPU clock through the vDSO: %d", gettime(CLOCK_PROCESS_CPUTIME_ID, &t));
	observe("clock 77: %d, clock -1: %d", gettime(77, &t), gettime(-1, &t));
	require(getres(CLOCK_MONOTONIC, &t) == 0 && syscall(SYS_clock_getres, CLOCK_MONOTONIC, &u) == 0, "clock_getres");
	observe("resolution as the system call's: %s, %lld ns", ns(&t) == ns(&u) ? "yes" : "no", ns(&t));
	observe("clock_getres of clock 77: %d; without a place: %d", getres(77, &t), getres(CLOCK_MONOTONIC, NULL));
#ifdef __x86_64__
	long (*time_)(long *) = find("__vdso_time");
	int (*getcpu_)(unsigned *, unsigned *, void *) = find("__vdso_getcpu");
	require(time_ && getcpu_, "time and getcpu are there");
	if (time_ && getcpu_) {
		long stored = 0, seconds = time_(&stored);
		observe("time: %s", seconds == stored && seconds - v.tv_sec >= 0 && seconds - v.tv_sec < 3 ? "the same second" : "another");
		unsigned cpu = -1, node = -1;
		observe("getcpu: %d, a processor that exists: %s, node %u", getcpu_(&cpu, &node, NULL), cpu < (unsigned)sysconf(_SC_NPROCESSORS_CONF) ? "yes" : "no", node);
	}
#endif
	return contract_end();
}
