//go:build amd64

#include "go_asm.h"
#include "textflag.h"

// func maskInterrupts() (flags uint64)
TEXT ·maskInterrupts(SB),NOSPLIT|NOFRAME,$0-8
	PUSHFQ
	POPQ AX
	CLI
	MOVQ AX, flags+0(FP)
	RET

// func restoreInterrupts(flags uint64)
TEXT ·restoreInterrupts(SB),NOSPLIT|NOFRAME,$0-8
	MOVQ flags+0(FP), AX
	PUSHQ AX
	POPFQ
	RET

// func softInterrupt()
TEXT ·softInterrupt(SB),NOSPLIT|NOFRAME,$0-0
	INT $const_vectorIPI
	RET
