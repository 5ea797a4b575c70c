//go:build arm64

#include "textflag.h"

// The user's code, with the C calling convention. It is copied to the page behind the data page (package guestkernel/vdso),
// so nothing in it may refer to a symbol: only jumps within this function. Everything runs in user mode.
//
// DATA loads the address of the data page into R8: base, mult, wall and start are at 0, 8, 16 and 24. ADR R8, . as a word.
#define DATA \
	WORD $0x10000008 \
	AND $~4095, R8 \
	SUB $4096, R8

// NANOS: R2 = ns since the kernel's first instruction = (count - base) * mult >> 32; destroys R4 to R7. mult 0: there is no clock.
#define NANOS(none) \
	DATA \
	MOVD 8(R8), R5 \
	CBZ R5, none \
	ISB $15 \
	MRS CNTVCT_EL0, R2 \
	MOVD 0(R8), R4 \
	SUB R4, R2 \
	UMULH R5, R2, R6 \
	MUL R5, R2, R7 \
	EXTR $32, R7, R6, R2

// func code()
TEXT ·code(SB),NOSPLIT|NOFRAME,$0
	// Entries, 16 bytes apart: package vdso's Symbols has their order.
	B gettime
	PCALIGN $16
	B gettimeofday
	PCALIGN $16
	B getres
	PCALIGN $16
	// Where signal handlers return to. A system call: rt_sigreturn.
	MOVD $139, R8
	SVC
	PCALIGN $16

	// int clock_gettime(clockid_t R0, struct timespec *R1). Clocks 0, 1, 4 to 7 and 11 are served here, of those 0, 5 and 11
	// (REALTIME, REALTIME_COARSE, TAI) count from 1970, the others from the boot.
gettime:
	CMPW $11, R0
	BHI gettimeCall
	MOVD $0x8f3, R3
	LSR R0, R3, R4
	TBZ $0, R4, gettimeCall
	NANOS(gettimeCall)
	MOVD $0x821, R3
	LSR R0, R3, R4
	TBZ $0, R4, fromBoot
	MOVD 16(R8), R4
	ADD R4, R2
	B split
fromBoot:
	MOVD 24(R8), R4
	SUB R4, R2
split:
	MOVD $1000000000, R4
	UDIV R4, R2, R5
	MSUB R5, R2, R4, R6 // R6 = R2 - R5*R4
	MOVD R5, 0(R1)
	MOVD R6, 8(R1)
	MOVD ZR, R0
	RET
gettimeCall:
	MOVD $113, R8
	SVC
	RET

	// int gettimeofday(struct timeval *R0, struct timezone *R1)
gettimeofday:
	CBZ R0, zone
	NANOS(gettimeofdayCall)
	MOVD 16(R8), R4
	ADD R4, R2
	MOVD $1000000000, R4
	UDIV R4, R2, R5
	MSUB R5, R2, R4, R6
	MOVD $1000, R4
	UDIV R4, R6, R6
	MOVD R5, 0(R0)
	MOVD R6, 8(R0)
zone:
	CBZ R1, 2(PC)
	MOVD ZR, 0(R1)
	MOVD ZR, R0
	RET
gettimeofdayCall:
	MOVD $169, R8
	SVC
	RET

	// int clock_getres(clockid_t R0, struct timespec *R1): 1 ns, but the coarse clocks (5 and 6).
getres:
	CMPW $11, R0
	BHI getresCall
	MOVD $0x893, R3
	LSR R0, R3, R4
	TBZ $0, R4, getresCall
	CBZ R1, done
	MOVD $1, R2
	MOVD ZR, 0(R1)
	MOVD R2, 8(R1)
done:
	MOVD ZR, R0
	RET
getresCall:
	MOVD $114, R8
	SVC
	RET

	// What ends the copy.
	WORD $0x474e4952; WORD $0x4456204f; WORD $0x65204f53; WORD $0x2e2e646e

// func codeAddress() unsafe.Pointer
TEXT ·codeAddress(SB),NOSPLIT|NOFRAME,$0-8
	MOVD $·code(SB), R0
	MOVD R0, ret+0(FP)
	RET
