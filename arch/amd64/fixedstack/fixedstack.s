//go:build amd64

#include "go_asm.h"
#include "textflag.h"

// Go code calls assembly with g in R14 and reloads it from the thread's TLS slot, -8(FS), afterwards: both
// are exchanged. DI = s throughout.

// ENTER leaves the goroutine: remembers where it was, masks interrupts, takes the stack's own g.
#define ENTER \
	PUSHFQ \
	POPQ AX \
	CLI \
	MOVQ AX, Stack_flags(DI) \
	MOVQ SP, Stack_back(DI) \
	MOVQ BP, Stack_backFP(DI) \
	MOVQ R14, Stack_g(DI) \
	LEAQ Stack_fakeG(DI), R14 \
	MOVQ R14, -8(FS) \
	MOVQ $0, Stack_SP(DI)

// LEAVE and RESTOREBP load frame pointers that ENTER and Yield have saved.
#define LEAVE \
	MOVQ Stack_backFP(DI), BP \
	MOVQ Stack_back(DI), SP
#define RESTOREBP \
	MOVQ 40(SP), BP
#define NOCALLER \
	XORL BP, BP

// func Start(s *Stack, fn func(uint64), arg uint64)
TEXT ·Start(SB),NOSPLIT|NOFRAME,$0-24
	MOVQ s+0(FP), DI
	MOVQ fn+8(FP), DX
	MOVQ arg+16(FP), R9
	ENTER
	MOVQ Stack_Hi(DI), SP
	SUBQ $64, SP // Go functions spill their arguments above their return address
	NOCALLER
	XORPS X15, X15
	MOVQ R9, AX
	MOVQ (DX), R11
	CALL R11
	LEAQ -Stack_fakeG(R14), DI
	JMP back<>(SB)

// back returns to the goroutine that called Start or Resume. DI = s.
TEXT back<>(SB),NOSPLIT|NOFRAME,$0
	MOVQ Stack_g(DI), R14
	MOVQ R14, -8(FS)
	LEAVE
	XORPS X15, X15
	MOVQ Stack_flags(DI), AX
	PUSHQ AX
	POPFQ
	RET

// func Yield()
// The frame of a context switch: what a function keeps for its caller, and the return address above it.
TEXT ·Yield(SB),NOSPLIT|NOFRAME,$0-0
	PUSHQ BP
	PUSHQ BX
	PUSHQ R12
	PUSHQ R13
	PUSHQ R14
	PUSHQ R15
	LEAQ -Stack_fakeG(R14), DI
	MOVQ SP, Stack_SP(DI)
	JMP back<>(SB)

// func Resume(s *Stack)
TEXT ·Resume(SB),NOSPLIT|NOFRAME,$0-8
	MOVQ s+0(FP), DI
	MOVQ Stack_SP(DI), R9
	ENTER
	MOVQ R9, SP
	MOVQ 0(SP), R15
	MOVQ 8(SP), R14
	MOVQ 16(SP), R13
	MOVQ 24(SP), R12
	MOVQ 32(SP), BX
	RESTOREBP
	ADDQ $48, SP
	RET // to the caller of Yield, if nobody has written there

// func fakeGAddress(s *Stack) uint64
TEXT ·fakeGAddress(SB),NOSPLIT|NOFRAME,$0-16
	MOVQ s+0(FP), AX
	ADDQ $Stack_fakeG, AX
	MOVQ AX, ret+8(FP)
	RET
