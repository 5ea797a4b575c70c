//go:build arm64

#include "textflag.h"

// The check program: user code, copied to CodeBase. It must not refer to anything by symbol. SP is
// the only base register, so that x0 to x30 can all hold patterns: it points at Data.State, the header is
// 64 bytes below, the registers after the test are stored 1024 bytes above. Offsets are those of selftest.go.

// FILL loads every register from the state; x0 is the scratch register until it gets its own value.
#define FILL \
	FLDPQ	288(RSP), (F0, F1) \
	FLDPQ	320(RSP), (F2, F3) \
	FLDPQ	352(RSP), (F4, F5) \
	FLDPQ	384(RSP), (F6, F7) \
	FLDPQ	416(RSP), (F8, F9) \
	FLDPQ	448(RSP), (F10, F11) \
	FLDPQ	480(RSP), (F12, F13) \
	FLDPQ	512(RSP), (F14, F15) \
	FLDPQ	544(RSP), (F16, F17) \
	FLDPQ	576(RSP), (F18, F19) \
	FLDPQ	608(RSP), (F20, F21) \
	FLDPQ	640(RSP), (F22, F23) \
	FLDPQ	672(RSP), (F24, F25) \
	FLDPQ	704(RSP), (F26, F27) \
	FLDPQ	736(RSP), (F28, F29) \
	FLDPQ	768(RSP), (F30, F31) \
	MOVD	248(RSP), R0 \
	MSR	R0, NZCV \
	MOVD	256(RSP), R0 \
	MSR	R0, FPSR \
	MOVD	264(RSP), R0 \
	MSR	R0, FPCR \
	MOVD	272(RSP), R0 \
	MSR	R0, TPIDR_EL0 \
	LDP	16(RSP), (R2, R3) \
	LDP	32(RSP), (R4, R5) \
	LDP	48(RSP), (R6, R7) \
	LDP	64(RSP), (R8, R9) \
	LDP	80(RSP), (R10, R11) \
	LDP	96(RSP), (R12, R13) \
	LDP	112(RSP), (R14, R15) \
	LDP	128(RSP), (R16, R17) \
	MOVD	144(RSP), R18_PLATFORM \
	LDP	152(RSP), (R19, R20) \
	LDP	168(RSP), (R21, R22) \
	LDP	184(RSP), (R23, R24) \
	LDP	200(RSP), (R25, R26) \
	LDP	216(RSP), (R27, g) \
	LDP	232(RSP), (R29, R30) \
	LDP	0(RSP), (R0, R1)

// DUMP stores every register; x0 is the scratch register after its own value is stored.
#define DUMP \
	ADD	$1024, RSP \
	STP	(R0, R1), 0(RSP) \
	STP	(R2, R3), 16(RSP) \
	STP	(R4, R5), 32(RSP) \
	STP	(R6, R7), 48(RSP) \
	STP	(R8, R9), 64(RSP) \
	STP	(R10, R11), 80(RSP) \
	STP	(R12, R13), 96(RSP) \
	STP	(R14, R15), 112(RSP) \
	STP	(R16, R17), 128(RSP) \
	MOVD	R18_PLATFORM, 144(RSP) \
	STP	(R19, R20), 152(RSP) \
	STP	(R21, R22), 168(RSP) \
	STP	(R23, R24), 184(RSP) \
	STP	(R25, R26), 200(RSP) \
	STP	(R27, g), 216(RSP) \
	STP	(R29, R30), 232(RSP) \
	MRS	NZCV, R0 \
	MOVD	R0, 248(RSP) \
	MRS	FPSR, R0 \
	MOVD	R0, 256(RSP) \
	MRS	FPCR, R0 \
	MOVD	R0, 264(RSP) \
	MRS	TPIDR_EL0, R0 \
	MOVD	R0, 272(RSP) \
	FSTPQ	(F0, F1), 288(RSP) \
	FSTPQ	(F2, F3), 320(RSP) \
	FSTPQ	(F4, F5), 352(RSP) \
	FSTPQ	(F6, F7), 384(RSP) \
	FSTPQ	(F8, F9), 416(RSP) \
	FSTPQ	(F10, F11), 448(RSP) \
	FSTPQ	(F12, F13), 480(RSP) \
	FSTPQ	(F14, F15), 512(RSP) \
	FSTPQ	(F16, F17), 544(RSP) \
	FSTPQ	(F18, F19), 576(RSP) \
	FSTPQ	(F20, F21), 608(RSP) \
	FSTPQ	(F22, F23), 640(RSP) \
	FSTPQ	(F24, F25), 672(RSP) \
	FSTPQ	(F26, F27), 704(RSP) \
	FSTPQ	(F28, F29), 736(RSP) \
	FSTPQ	(F30, F31), 768(RSP) \
	SUB	$1024, RSP

// func check()
TEXT ·check(SB), NOSPLIT|NOFRAME, $0
	MOVD	$0x21, R0 // SP = DataBase + 64
	LSL	$16, R0
	ADD	$64, R0
	MOVD	R0, RSP
loop:
	MOVD	-56(RSP), R0 // Mode
	CMP	$1, R0
	BEQ	fault
	BHI	spin

	// ModeSyscall: x8 of the state is CallNothing. The result is not compared.
	FILL
	SVC	$0
	MOVD	0(RSP), R0
	B	verify

	// ModeFault: x2 of the state is FaultPage. The call lets the kernel unmap it, the store faults, the
	// load finds what it stored.
fault:
	FILL
	SVC	$0
	MOVD	0(RSP), R0
	MOVD	R1, (R2)
	MOVD	(R2), R1
	B	verify

	// ModeSpin: x0 counts down, without touching the flags.
spin:
	FILL
	MOVD	-48(RSP), R0 // Spin
count:
	SUB	$1, R0
	CBNZ	R0, count
	MOVD	0(RSP), R0

	// Compare word by word: R1 = number, R2 = state, R3 = what was stored.
verify:
	DUMP
	MOVD	ZR, R1
	MOVD	RSP, R2
	ADD	$1024, R2, R3
compare:
	MOVD	(R2)(R1<<3), R4
	MOVD	(R3)(R1<<3), R5
	CMP	R4, R5
	BNE	bad
	ADD	$1, R1
	CMP	$100, R1
	BLT	compare

	MOVD	-64(RSP), R4 // Iterations
	SUB	$1, R4
	MOVD	R4, -64(RSP)
	CBNZ	R4, loop
	MOVD	$1000, R8 // CallDone
	SVC	$0
	B	0(PC)
bad:
	MOVD	R1, R0
	MOVD	R4, R1
	MOVD	R5, R2
	MOVD	$1001, R8 // CallFailed
	SVC	$0
	B	0(PC)

// func checkEnd()
TEXT ·checkEnd(SB), NOSPLIT|NOFRAME, $0
	RET

// func checkCode() (start, end uintptr)
TEXT ·checkCode(SB), NOSPLIT|NOFRAME, $0-16
	MOVD	$·check(SB), R0
	MOVD	R0, start+0(FP)
	MOVD	$·checkEnd(SB), R0
	MOVD	R0, end+8(FP)
	RET
