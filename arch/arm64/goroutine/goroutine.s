//go:build arm64

#include "textflag.h"

// func G() uintptr
TEXT ·G(SB),NOSPLIT|NOFRAME,$0-8
	MOVD g, ret+0(FP)
	RET

// func FP() uintptr
// A direct call of an assembly function has no frame in between: R29 is the caller's. (Not so through a func value.)
TEXT ·FP(SB),NOSPLIT|NOFRAME,$0-8
	MOVD R29, ret+0(FP)
	RET
