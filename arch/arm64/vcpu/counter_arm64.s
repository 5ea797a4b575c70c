#include "textflag.h"

// func counterFrequency() uint64
TEXT ·counterFrequency(SB), NOSPLIT, $0-8
	MRS	CNTFRQ_EL0, R0	// ticks a second, set by the host's firmware
	MOVD	R0, ret+0(FP)
	RET

// func zeroBlockID() uint64
TEXT ·zeroBlockID(SB), NOSPLIT, $0-8
	MRS	DCZID_EL0, R0	// bits 3:0 log2 of the block in words, bit 4 prohibited
	MOVD	R0, ret+0(FP)
	RET
