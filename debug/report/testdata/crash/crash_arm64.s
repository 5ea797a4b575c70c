#include "textflag.h"

// entryFault runs Go code that loads from an unmapped address before there are vectors.
TEXT ·entryFault(SB), NOSPLIT|NOFRAME, $0
	MOVD $·stack+(16<<10)-16(SB), R0
	MOVD R0, RSP
	MOVD ZR, R29
	CALL ·start(SB)
	B    0(PC)

// entryLast runs Go code that ends in an exit no monitor can serve.
TEXT ·entryLast(SB), NOSPLIT|NOFRAME, $0
	MOVD $·stack+(16<<10)-16(SB), R0
	MOVD R0, RSP
	MOVD ZR, R29
	CALL ·last(SB)
	B    0(PC)

// func load(addr uint64) uint64
TEXT ·load(SB), NOSPLIT, $0-16
	MOVD addr+0(FP), R0
	MOVD (R0), R0
	MOVD R0, ret+8(FP)
	RET

// func spoil()
// A load of a pair from a device register: the hardware describes no such access to KVM.
TEXT ·spoil(SB), NOSPLIT, $16-0
	MOVD $0x800009000000, R0
	LDP  (R0), (R1, R2)
	RET

// Nothing calls the entries, and the linker keeps what is reachable.
DATA ·keep+0(SB)/8, $·entryFault(SB)
DATA ·keep+8(SB)/8, $·entryLast(SB)
GLOBL ·keep(SB), NOPTR, $16
