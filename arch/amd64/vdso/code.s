//go:build amd64

#include "textflag.h"

// The user's code, with the C calling convention. It is copied to the page behind the data page (package guestkernel/vdso),
// so nothing in it may refer to a symbol: only jumps within this function. Everything runs in user mode.
//
// DATA loads the address of the code page into R8; the data page ends there: base, mult, wall, start and flags are
// at -4096, -4088, -4080, -4072 and -4064. LEAQ 0(IP), R8 as bytes.
#define DATA \
	BYTE $0x4c; BYTE $0x8d; BYTE $0x05; LONG $0 \
	ANDQ $~4095, R8

// NANOS: AX = ns since the kernel's first instruction = (tsc - base) * mult >> 32; destroys CX, DX. mult 0: there is no clock.
#define NANOS(none) \
	DATA \
	MOVQ -4088(R8), CX \
	TESTQ CX, CX \
	JZ none \
	LFENCE \
	RDTSC \
	SHLQ $32, DX \
	ORQ DX, AX \
	SUBQ -4096(R8), AX \
	JCC 2(PC) \
	XORL AX, AX \
	MULQ CX \
	SHRQ $32, DX, AX

// func code()
TEXT ·code(SB),NOSPLIT|NOFRAME,$0
	// Entries, 16 bytes apart: package vdso's Symbols has their order.
	JMP gettime
	PCALIGN $16
	JMP gettimeofday
	PCALIGN $16
	JMP seconds
	PCALIGN $16
	JMP getcpu
	PCALIGN $16
	JMP getres
	PCALIGN $16

	// int clock_gettime(clockid_t DI, struct timespec *SI). Clocks 0, 1, 4 to 7 and 11 are served here, of those 0, 5 and 11
	// (REALTIME, REALTIME_COARSE, TAI) count from 1970, the others from the boot.
gettime:
	CMPL DI, $11
	JHI gettimeCall
	MOVL $0x8f3, AX
	BTL DI, AX
	JCC gettimeCall
	NANOS(gettimeCall)
	MOVL $0x821, CX
	BTL DI, CX
	JCC fromBoot
	ADDQ -4080(R8), AX
	JMP split
fromBoot:
	SUBQ -4072(R8), AX
split:
	XORL DX, DX
	MOVL $1000000000, CX
	DIVQ CX
	MOVQ AX, 0(SI)
	MOVQ DX, 8(SI)
	XORL AX, AX
	RET
gettimeCall:
	MOVL $228, AX
	SYSCALL
	RET

	// int gettimeofday(struct timeval *DI, struct timezone *SI)
gettimeofday:
	TESTQ DI, DI
	JZ zone
	NANOS(gettimeofdayCall)
	ADDQ -4080(R8), AX
	XORL DX, DX
	MOVL $1000000000, CX
	DIVQ CX
	MOVQ AX, 0(DI)
	MOVQ DX, AX
	XORL DX, DX
	MOVL $1000, CX
	DIVQ CX
	MOVQ AX, 8(DI)
zone:
	TESTQ SI, SI
	JZ 2(PC)
	MOVQ $0, 0(SI)
	XORL AX, AX
	RET
gettimeofdayCall:
	MOVL $96, AX
	SYSCALL
	RET

	// time_t time(time_t *DI)
seconds:
	NANOS(secondsCall)
	ADDQ -4080(R8), AX
	XORL DX, DX
	MOVL $1000000000, CX
	DIVQ CX
	TESTQ DI, DI
	JZ 2(PC)
	MOVQ AX, 0(DI)
	RET
secondsCall:
	MOVL $201, AX
	SYSCALL
	RET

	// int getcpu(unsigned *DI, unsigned *SI, void *): IA32_TSC_AUX is the CPU's number, if flags bit 0 says so. One node.
getcpu:
	DATA
	TESTL $1, -4064(R8)
	JZ getcpuCall
	RDTSCP
	TESTQ DI, DI
	JZ 2(PC)
	MOVL CX, 0(DI)
	TESTQ SI, SI
	JZ 2(PC)
	MOVL $0, 0(SI)
	XORL AX, AX
	RET
getcpuCall:
	MOVL $309, AX
	SYSCALL
	RET

	// int clock_getres(clockid_t DI, struct timespec *SI): 1 ns, but the coarse clocks (5 and 6).
getres:
	CMPL DI, $11
	JHI getresCall
	MOVL $0x893, AX
	BTL DI, AX
	JCC getresCall
	TESTQ SI, SI
	JZ 3(PC)
	MOVQ $0, 0(SI)
	MOVQ $1, 8(SI)
	XORL AX, AX
	RET
getresCall:
	MOVL $229, AX
	SYSCALL
	RET

	// What ends the copy.
	LONG $0x474e4952; LONG $0x4456204f; LONG $0x65204f53; LONG $0x2e2e646e

// func codeAddress() unsafe.Pointer
TEXT ·codeAddress(SB),NOSPLIT|NOFRAME,$0-8
	LEAQ ·code(SB), AX
	MOVQ AX, ret+0(FP)
	RET
