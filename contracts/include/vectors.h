/*
 * vectors.h: fill every vector register, let something happen, and read them all back.
 *
 * The happening is inside one asm statement, so that no compiler moves anything in between:
 *   vectors_syscall     one system call
 *   vectors_store       one store, for a page fault
 *   vectors_spin        a counted loop, long enough to be interrupted
 * Each takes the values to fill in and answers what was there afterwards. amd64: xmm0 to xmm15, or the
 * whole ymm0 to ymm15 where the processor has them. arm64: q0 to q31.
 */
#ifndef VECTORS_H
#define VECTORS_H

#include "contract.h"

#ifdef __x86_64__
#define VECTOR_COUNT 16
#define VECTOR_WIDTH 32
#else
#define VECTOR_COUNT 32
#define VECTOR_WIDTH 16
#endif

struct vectors {
	uint8_t b[VECTOR_COUNT][VECTOR_WIDTH];
} __attribute__((aligned(64)));

/* vectors_pattern is a value for every byte that differs by seed, register and place. */
__attribute__((unused)) static void vectors_pattern(struct vectors *v, unsigned seed)
{
	for (int r = 0; r < VECTOR_COUNT; r++)
		for (int i = 0; i < VECTOR_WIDTH; i++)
			v->b[r][i] = (uint8_t)(seed * 167 + r * 13 + i * 5 + 1);
}

#ifdef __x86_64__
static int vectors_wide(void)
{
	static int known;
	if (!known)
		known = __builtin_cpu_supports("avx") ? 2 : 1;
	return known == 2;
}

#define XMM_ALL(op) op(0) op(1) op(2) op(3) op(4) op(5) op(6) op(7) op(8) op(9) op(10) op(11) op(12) op(13) op(14) op(15)
#define STR_(x) #x
#define STR(x) STR_(x)
#define OFF(n) STR((n * 32))
#define YMM_LOAD(n) "vmovdqu " OFF(n) "(%[in]), %%ymm" #n "\n\t"
#define YMM_SAVE(n) "vmovdqu %%ymm" #n ", " OFF(n) "(%[out])\n\t"
#define XMM_LOAD(n) "movdqu " OFF(n) "(%[in]), %%xmm" #n "\n\t"
#define XMM_SAVE(n) "movdqu %%xmm" #n ", " OFF(n) "(%[out])\n\t"
#define XMM_CLOBBERS "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15"

/* A half of a register that the processor does not have is compared as it was given. */
#define VECTORS_RUN(middle, ...) \
	do { \
		*out = *in; \
		if (vectors_wide()) \
			__asm__ volatile(XMM_ALL(YMM_LOAD) middle XMM_ALL(YMM_SAVE) "vzeroupper\n\t" __VA_ARGS__); \
		else \
			__asm__ volatile(XMM_ALL(XMM_LOAD) middle XMM_ALL(XMM_SAVE) __VA_ARGS__); \
	} while (0)

__attribute__((unused, noinline)) static long vectors_syscall(const struct vectors *in, struct vectors *out, long nr, long a0, long a1, long a2, long a3)
{
	long ret = nr;
	register long r10 __asm__("r10") = a3;
	VECTORS_RUN("syscall\n\t",
		: "+a"(ret), "+D"(a0), "+S"(a1), "+d"(a2), "+r"(r10)
		: [in] "b"(in), [out] "r"(out)
		: "rcx", "r11", "memory", XMM_CLOBBERS);
	return ret;
}

__attribute__((unused, noinline)) static void vectors_store(const struct vectors *in, struct vectors *out, volatile char *where)
{
	VECTORS_RUN("movb $1, (%[where])\n\t", : : [in] "r"(in), [out] "r"(out), [where] "r"(where) : "memory", XMM_CLOBBERS);
}

__attribute__((unused, noinline)) static void vectors_spin(const struct vectors *in, struct vectors *out, long rounds)
{
	VECTORS_RUN("1: dec %[n]\n\tjnz 1b\n\t", : [n] "+r"(rounds) : [in] "r"(in), [out] "r"(out) : "memory", "cc", XMM_CLOBBERS);
}
#else
#define Q_PAIRS(op) op(0, 1) op(2, 3) op(4, 5) op(6, 7) op(8, 9) op(10, 11) op(12, 13) op(14, 15) op(16, 17) op(18, 19) op(20, 21) op(22, 23) op(24, 25) op(26, 27) op(28, 29) op(30, 31)
#define Q_LOAD(a, b) "ldp q" #a ", q" #b ", [%[in], #(" #a "*16)]\n\t"
#define Q_SAVE(a, b) "stp q" #a ", q" #b ", [%[out], #(" #a "*16)]\n\t"
#define Q_CLOBBERS "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15", "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25", "v26", "v27", "v28", "v29", "v30", "v31"
#define VECTORS_RUN(middle, ...) __asm__ volatile(Q_PAIRS(Q_LOAD) middle Q_PAIRS(Q_SAVE) __VA_ARGS__)

__attribute__((unused, noinline)) static long vectors_syscall(const struct vectors *in, struct vectors *out, long nr, long a0, long a1, long a2, long a3)
{
	register long x8 __asm__("x8") = nr;
	register long x0 __asm__("x0") = a0;
	register long x1 __asm__("x1") = a1;
	register long x2 __asm__("x2") = a2;
	register long x3 __asm__("x3") = a3;
	VECTORS_RUN("svc #0\n\t", : "+r"(x0) : [in] "r"(in), [out] "r"(out), "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory", "cc", Q_CLOBBERS);
	return x0;
}

__attribute__((unused, noinline)) static void vectors_store(const struct vectors *in, struct vectors *out, volatile char *where)
{
	VECTORS_RUN("strb wzr, [%[where]]\n\t", : : [in] "r"(in), [out] "r"(out), [where] "r"(where) : "memory", Q_CLOBBERS);
}

__attribute__((unused, noinline)) static void vectors_spin(const struct vectors *in, struct vectors *out, long rounds)
{
	VECTORS_RUN("1: subs %[n], %[n], #1\n\tb.ne 1b\n\t", : [n] "+r"(rounds) : [in] "r"(in), [out] "r"(out) : "memory", "cc", Q_CLOBBERS);
}
#endif

/* vectors_require ends the contract at the first register that has changed. */
__attribute__((unused)) static void vectors_require(const struct vectors *in, const struct vectors *out, const char *when)
{
	for (int r = 0; r < VECTOR_COUNT; r++)
		for (int i = 0; i < VECTOR_WIDTH; i++)
			if (in->b[r][i] != out->b[r][i])
				contract_fail("%s: vector register %d, byte %d: was %#x, is %#x", when, r, i, in->b[r][i], out->b[r][i]);
}

#endif
