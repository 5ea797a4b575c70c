#include "textflag.h"

// entryFault runs Go code that loads from an unmapped address before there is an IDT.
TEXT ·entryFault(SB), NOSPLIT|NOFRAME, $0
	LEAQ ·stack+(16<<10)(SB), SP
	XORL BP, BP
	MOVQ ·starts(SB), DX // not the wrapper for assembly, which wants a g
	MOVQ (DX), AX
	CALL AX
	HLT

// entryLast runs Go code that ends in an exit no monitor can serve.
TEXT ·entryLast(SB), NOSPLIT|NOFRAME, $0
	LEAQ ·stack+(16<<10)(SB), SP
	XORL BP, BP
	MOVQ ·lasts(SB), DX
	MOVQ (DX), AX
	CALL AX
	HLT

// func load(addr uint64) uint64
TEXT ·load(SB), NOSPLIT, $0-16
	MOVQ addr+0(FP), AX
	MOVQ (AX), AX
	MOVQ AX, ret+8(FP)
	RET

// func spoil()
// An IDT without room for a single gate, and then an exception: a triple fault.
TEXT ·spoil(SB), NOSPLIT, $16-0
	MOVW $0, 0(SP)
	MOVQ $0, 2(SP)
	LIDT 0(SP)
	UD2
	RET

// Nothing calls the entries, and the linker keeps what is reachable.
DATA ·keep+0(SB)/8, $·entryFault(SB)
DATA ·keep+8(SB)/8, $·entryLast(SB)
GLOBL ·keep(SB), NOPTR, $16
