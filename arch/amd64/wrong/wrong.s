//go:build amd64

#include "textflag.h"

// func ClearBackward(addr, n uint64)
// DI = address of the highest word, CX = words.
TEXT ·ClearBackward(SB),NOSPLIT|NOFRAME,$0-16
	MOVQ addr+0(FP), DI
	MOVQ n+8(FP), CX
	SHRQ $3, CX
	XORL AX, AX
	STD
	REP; STOSQ
	CLD
	RET

// func StoreWide(addr uint64)
// Without AVX the store is two of 16 bytes. The upper half of Y0 may be a user's: it is put back before anybody else can use the CPU.
TEXT ·StoreWide(SB),NOSPLIT,$16-8
	MOVQ addr+0(FP), DI
	MOVL $1, AX
	XORL CX, CX
	CPUID
	ANDL $((1<<28)|(1<<27)), CX // AVX, OSXSAVE
	CMPL CX, $((1<<28)|(1<<27))
	JNE narrow
	PUSHFQ
	POPQ SI
	CLI
	XORL CX, CX
	XGETBV
	ANDL $6, AX // no user has been here yet
	CMPL AX, $6
	JNE unmask
	VEXTRACTF128 $1, Y0, upper-16(SP)
	VPCMPEQB X0, X0, X0
	VINSERTF128 $1, X0, Y0, Y0
	VMOVDQU Y0, (DI)
	VINSERTF128 $1, upper-16(SP), Y0, Y0
	PUSHQ SI
	POPFQ
	RET
unmask:
	PUSHQ SI
	POPFQ
narrow:
	PCMPEQB X0, X0
	MOVUPS X0, 0(DI)
	MOVUPS X0, 16(DI)
	RET

// func CrossPages(addr uint64)
TEXT ·CrossPages(SB),NOSPLIT|NOFRAME,$0-8
	MOVQ addr+0(FP), DX
	MOVQ $0x1122334455667788, AX
	MOVQ AX, (DX)
	LEAQ -64(DX), SI
	LEAQ 8(DX), DI
	MOVQ $8, CX
	REP; MOVSB
	MOVL $1, AX
	LOCK
	XADDL AX, 16(DX)
	RET

// func SpinMasked(word *uint32)
TEXT ·SpinMasked(SB),NOSPLIT|NOFRAME,$0-8
	MOVQ word+0(FP), DI
	PUSHFQ
	CLI
again:
	PAUSE
	CMPL (DI), $0
	JEQ again
	POPFQ
	RET
