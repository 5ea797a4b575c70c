/*
 * process/registers_syscalls: a system call changes only the registers that the ABI says.
 *
 * Catches: callee-saved registers lost on the slow path (blocking, signals, rescheduling) although the fast one keeps them.
 */
#include "contract.h"

#ifdef __x86_64__
static int changed(long nr, long a0, long a1)
{
	int bad;
	/* Everything but rax, rcx and r11 must survive. rbx and rbp hold values as well. */
	__asm__ volatile(
		"push %%rbp\n\tpush %%rbx\n\t"
		"mov $0x1111, %%rbx\n\tmov $0x2222, %%rbp\n\tmov $0x3333, %%r8\n\tmov $0x4444, %%r9\n\tmov $0x5555, %%r10\n\t"
		"mov $0x6666, %%r12\n\tmov $0x7777, %%r13\n\tmov $0x8888, %%r14\n\tmov $0x9999, %%r15\n\tmov $0xaaaa, %%edx\n\t"
		"syscall\n\t"
		"xor %%eax, %%eax\n\t"
		"cmp $0x1111, %%rbx\n\tje 1f\n\tor $1, %%eax\n1:\tcmp $0x2222, %%rbp\n\tje 1f\n\tor $2, %%eax\n"
		"1:\tcmp $0x3333, %%r8\n\tje 1f\n\tor $4, %%eax\n1:\tcmp $0x4444, %%r9\n\tje 1f\n\tor $8, %%eax\n"
		"1:\tcmp $0x5555, %%r10\n\tje 1f\n\tor $16, %%eax\n1:\tcmp $0x6666, %%r12\n\tje 1f\n\tor $32, %%eax\n"
		"1:\tcmp $0x7777, %%r13\n\tje 1f\n\tor $64, %%eax\n1:\tcmp $0x8888, %%r14\n\tje 1f\n\tor $128, %%eax\n"
		"1:\tcmp $0x9999, %%r15\n\tje 1f\n\tor $256, %%eax\n1:\tcmp $0xaaaa, %%rdx\n\tje 1f\n\tor $512, %%eax\n1:\t"
		"pop %%rbx\n\tpop %%rbp\n\t"
		: "=&a"(bad), "+D"(a0), "+S"(a1)
		: "0"(nr)
		: "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc");
	return bad;
}
#else
static int changed(long nr, long a0, long a1)
{
	register long x8 __asm__("x8") = nr;
	register long x0 __asm__("x0") = a0;
	register long x1 __asm__("x1") = a1;
	int bad;
#define SET(n) "mov x" #n ", #(0x1100 + " #n ")\n\t"
#define CHECK(n) "mov x0, #(0x1100 + " #n ")\n\tcmp x" #n ", x0\n\tcset w0, ne\n\torr %w[bad], %w[bad], w0\n\t"
#define EACH(op) op(2) op(3) op(4) op(5) op(6) op(7) op(9) op(10) op(11) op(12) op(13) op(14) op(15) op(16) op(17) op(20) op(21) op(22) op(23) op(24) op(25) op(26) op(27) op(28)
	__asm__ volatile(EACH(SET) "svc #0\n\tmov %w[bad], #0\n\t" EACH(CHECK)
		: [bad] "=&r"(bad), "+r"(x0), "+r"(x1), "+r"(x8)
		:
		: "x2", "x3", "x4", "x5", "x6", "x7", "x9", "x10", "x11", "x12", "x13", "x14", "x15", "x16", "x17", "x20", "x21", "x22", "x23", "x24",
		  "x25", "x26", "x27", "x28", "memory", "cc");
	return bad;
}
#endif

static void on_signal(int s) { (void)s; }

int main(void)
{
	struct timespec nap = { 0, 2000000 };
	struct { const char *name; long nr, a0, a1; } calls[] = {
		{ "getpid", SYS_getpid, 0, 0 },
		{ "sched_yield", SYS_sched_yield, 0, 0 },
		{ "nanosleep", SYS_nanosleep, (long)&nap, 0 },
		{ "an unknown call", 99999, 0, 0 },
		{ "kill with a handler", SYS_kill, getpid(), SIGUSR1 },
		{ "chdir with a bad pointer", SYS_chdir, 8, 0 },
	};
	signal(SIGUSR1, on_signal);
	for (unsigned i = 0; i < sizeof calls / sizeof *calls; i++)
		for (int round = 0; round < 20; round++) {
			int bad = changed(calls[i].nr, calls[i].a0, calls[i].a1);
			require(!bad, "%s changed registers, mask %#x", calls[i].name, bad);
			if (!round)
				observe("%s: registers preserved", calls[i].name);
		}
	return contract_end();
}
