/*
 * process/exec_auxv: the auxiliary vector describes the program that runs.
 *
 * Catches: missing AT_RANDOM (stack protectors start from it), wrong AT_PHDR or AT_ENTRY, ids of another process, a
 * stack that is not aligned to 16 bytes at entry.
 */
#include "contract.h"
#include <elf.h>
#include <link.h>
#include <sys/auxv.h>

extern const ElfW(Ehdr) __ehdr_start __attribute__((weak, visibility("hidden")));
extern char _start[];

int main(int argc, char **argv)
{
	observe("page size %lu, clock ticks %lu, secure %lu", getauxval(AT_PAGESZ), getauxval(AT_CLKTCK), getauxval(AT_SECURE));
	observe("ids: uid %lu euid %lu gid %lu egid %lu", getauxval(AT_UID), getauxval(AT_EUID), getauxval(AT_GID), getauxval(AT_EGID));
	require(getauxval(AT_UID) == getuid() && getauxval(AT_EGID) == getegid(), "ids are the caller's");
	require(getauxval(AT_ENTRY) == (unsigned long)_start, "AT_ENTRY is the program's start");
	const ElfW(Phdr) *ph = (void *)getauxval(AT_PHDR);
	require(ph && getauxval(AT_PHENT) == sizeof *ph, "AT_PHDR, AT_PHENT");
	int loads = 0;
	for (unsigned long i = 0; i < getauxval(AT_PHNUM); i++)
		loads += ph[i].p_type == PT_LOAD;
	observe("program headers have loads: %s", loads > 0 ? "yes" : "no");
	if (&__ehdr_start)
		require(__ehdr_start.e_phnum == getauxval(AT_PHNUM), "AT_PHNUM is the file's");
	require(loads > 0, "AT_PHDR points at the headers");
	const unsigned char *r = (void *)getauxval(AT_RANDOM);
	require(r != NULL, "AT_RANDOM");
	int zero = 0;
	for (int i = 0; i < 16; i++)
		zero += !r[i];
	observe("AT_RANDOM: %s", zero < 16 ? "random" : "all zero");
	require(zero < 16, "AT_RANDOM has random bytes");
	observe("AT_EXECFN is a path: %s", strrchr((char *)getauxval(AT_EXECFN), '/') ? "yes" : "no");
	observe("AT_PLATFORM: %s", (char *)getauxval(AT_PLATFORM));
	require(argc >= 1 && argv[argc] == NULL, "argv ends with NULL");
	uintptr_t sp = (uintptr_t)&argv[-1]; /* argc lies there at entry */
	observe("stack at entry aligned to 16: %s", sp % 16 == 0 ? "yes" : "no");
	require(sp % 16 == 0, "the ABI aligns the stack");
	return contract_end();
}
