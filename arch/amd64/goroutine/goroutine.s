//go:build amd64

#include "textflag.h"

// func G() uintptr
// R14 is g in all Go code.
TEXT ·G(SB),NOSPLIT|NOFRAME,$0-8
	MOVQ R14, ret+0(FP)
	RET

// func FP() uintptr
// A direct call of an assembly function has no frame in between: BP is the caller's. (Not so through a func value.)
TEXT ·FP(SB),NOSPLIT|NOFRAME,$0-8
	MOVQ BP, ret+0(FP)
	RET
