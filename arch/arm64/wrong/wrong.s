//go:build arm64

#include "textflag.h"

// func StoreWide(addr uint64)
TEXT ·StoreWide(SB),NOSPLIT|NOFRAME,$0-8
	MOVD addr+0(FP), R0
	VCMEQ V0.B16, V0.B16, V0.B16
	VCMEQ V1.B16, V1.B16, V1.B16
	FSTPQ (F0, F1), (R0)
	RET

// func CrossPages(addr uint64)
// The atomic addition is a loop of exclusives, which every CPU has.
TEXT ·CrossPages(SB),NOSPLIT|NOFRAME,$0-8
	MOVD addr+0(FP), R0
	MOVD $0x1122334455667788, R1
	MOVD R1, (R0)
	LDPW -64(R0), (R2, R3)
	STPW (R2, R3), 8(R0)
	ADD $16, R0
again:
	LDAXRW (R0), R4
	ADDW $1, R4
	STLXRW R4, (R0), R5
	CBNZ R5, again
	RET

// func SpinMasked(word *uint32)
TEXT ·SpinMasked(SB),NOSPLIT|NOFRAME,$0-8
	MOVD word+0(FP), R0
	MRS DAIF, R1
	MSR $15, DAIFSet
again:
	YIELD
	MOVWU (R0), R2
	CBZ R2, again
	MSR R1, DAIF
	RET
