//go:build arm64

#include "go_asm.h"
#include "textflag.h"

// Kernel Go code runs on SP_EL0 (EL1t), so exceptions have a stack of their own even here. R0 = s throughout; R28 is g.

// ENTER leaves the goroutine: remembers where it was, masks interrupts, takes the stack's own g.
#define ENTER \
	MRS DAIF, R3 \
	MSR $15, DAIFSet \
	MOVD R3, Stack_flags(R0) \
	MOVD RSP, R3 \
	MOVD R3, Stack_back(R0) \
	MOVD R29, Stack_backFP(R0) \
	MOVD g, Stack_g(R0) \
	MOVD R30, Stack_link(R0) \
	ADD $Stack_fakeG, R0, g \
	MOVD ZR, Stack_SP(R0)

// LEAVE and RESTOREFP load frame pointers and links that ENTER and Yield have saved.
#define LEAVE \
	MOVD Stack_backFP(R0), R29 \
	MOVD Stack_link(R0), R30
#define RESTOREFP \
	LDP 80(RSP), (R29, R30)
#define NOCALLER \
	MOVD ZR, R29 \
	MOVD ZR, R30

// func Start(s *Stack, fn func(uint64), arg uint64)
// R26 = the func value, R1 = arg.
TEXT ·Start(SB),NOSPLIT|NOFRAME,$0-24
	MOVD s+0(FP), R0
	MOVD fn+8(FP), R26
	MOVD arg+16(FP), R1
	ENTER
	MOVD Stack_Hi(R0), R3
	SUB $160, R3 // Go functions spill their arguments above their frame
	MOVD R3, RSP
	NOCALLER
	MOVD R1, R0
	MOVD (R26), R2
	CALL (R2)
	SUB $Stack_fakeG, g, R0
	B back<>(SB)

// back returns to the goroutine that called Start or Resume. R0 = s.
TEXT back<>(SB),NOSPLIT|NOFRAME,$0
	MOVD Stack_g(R0), g
	LEAVE
	MOVD Stack_back(R0), R3
	MOVD R3, RSP
	MOVD Stack_flags(R0), R3
	MSR R3, DAIF
	RET

// func Yield()
// The frame of a context switch: what a function keeps for its caller, the return address last.
TEXT ·Yield(SB),NOSPLIT|NOFRAME,$0-0
	SUB $96, RSP
	STP (R19, R20), 0(RSP)
	STP (R21, R22), 16(RSP)
	STP (R23, R24), 32(RSP)
	STP (R25, R26), 48(RSP)
	STP (R27, g), 64(RSP)
	STP (R29, R30), 80(RSP)
	SUB $Stack_fakeG, g, R0
	MOVD RSP, R3
	MOVD R3, Stack_SP(R0)
	B back<>(SB)

// func Resume(s *Stack)
TEXT ·Resume(SB),NOSPLIT|NOFRAME,$0-8
	MOVD s+0(FP), R0
	MOVD Stack_SP(R0), R4
	ENTER
	MOVD R4, RSP
	LDP 0(RSP), (R19, R20)
	LDP 16(RSP), (R21, R22)
	LDP 32(RSP), (R23, R24)
	LDP 48(RSP), (R25, R26)
	LDP 64(RSP), (R27, g)
	RESTOREFP
	ADD $96, RSP
	RET // to the caller of Yield, if nobody has written there

// func fakeGAddress(s *Stack) uint64
TEXT ·fakeGAddress(SB),NOSPLIT|NOFRAME,$0-16
	MOVD s+0(FP), R0
	ADD $Stack_fakeG, R0
	MOVD R0, ret+8(FP)
	RET
