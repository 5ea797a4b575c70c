// Register save and restore, shared by entry.s and user.s.
//
// R18 is the platform register: Go code never holds anything in it, so traps from kernel Go
// code (EL1t) may use it before anything is saved. User code (EL0) owns all of x0 to x30.

// SAVE_X19_X30 and LOAD_X19_X30 move x19 to x30 to or from the Frame or Regs at b.
#define SAVE_X19_X30(b) \
	STP	(R19, R20), 152(b) \
	STP	(R21, R22), 168(b) \
	STP	(R23, R24), 184(b) \
	STP	(R25, R26), 200(b) \
	STP	(R27, g), 216(b) \
	STP	(R29, R30), 232(b)

#define LOAD_X19_X30(b) \
	LDP	152(b), (R19, R20) \
	LDP	168(b), (R21, R22) \
	LDP	184(b), (R23, R24) \
	LDP	200(b), (R25, R26) \
	LDP	216(b), (R27, g) \
	LDP	232(b), (R29, R30)

// SAVE_X2_X17 and LOAD_X2_X17 move x2 to x17.
#define SAVE_X2_X17(b) \
	STP	(R2, R3), 16(b) \
	STP	(R4, R5), 32(b) \
	STP	(R6, R7), 48(b) \
	STP	(R8, R9), 64(b) \
	STP	(R10, R11), 80(b) \
	STP	(R12, R13), 96(b) \
	STP	(R14, R15), 112(b) \
	STP	(R16, R17), 128(b)

#define LOAD_X2_X17(b) \
	LDP	16(b), (R2, R3) \
	LDP	32(b), (R4, R5) \
	LDP	48(b), (R6, R7) \
	LDP	64(b), (R8, R9) \
	LDP	80(b), (R10, R11) \
	LDP	96(b), (R12, R13) \
	LDP	112(b), (R14, R15) \
	LDP	128(b), (R16, R17)

// SAVE_V stores q0 to q31, FPSR and FPCR at b (struct user_fpsimd_state) and leaves the
// kernel's FPCR, 0, in force. LOAD_V is the reverse. t is a scratch register.
#define SAVE_V(b, t) \
	FSTPQ	(F0, F1), 0(b) \
	FSTPQ	(F2, F3), 32(b) \
	FSTPQ	(F4, F5), 64(b) \
	FSTPQ	(F6, F7), 96(b) \
	FSTPQ	(F8, F9), 128(b) \
	FSTPQ	(F10, F11), 160(b) \
	FSTPQ	(F12, F13), 192(b) \
	FSTPQ	(F14, F15), 224(b) \
	FSTPQ	(F16, F17), 256(b) \
	FSTPQ	(F18, F19), 288(b) \
	FSTPQ	(F20, F21), 320(b) \
	FSTPQ	(F22, F23), 352(b) \
	FSTPQ	(F24, F25), 384(b) \
	FSTPQ	(F26, F27), 416(b) \
	FSTPQ	(F28, F29), 448(b) \
	FSTPQ	(F30, F31), 480(b) \
	MRS	FPSR, t \
	MOVW	t, 512(b) \
	MRS	FPCR, t \
	MOVW	t, 516(b) \
	MSR	ZR, FPCR

#define LOAD_V(b, t) \
	FLDPQ	0(b), (F0, F1) \
	FLDPQ	32(b), (F2, F3) \
	FLDPQ	64(b), (F4, F5) \
	FLDPQ	96(b), (F6, F7) \
	FLDPQ	128(b), (F8, F9) \
	FLDPQ	160(b), (F10, F11) \
	FLDPQ	192(b), (F12, F13) \
	FLDPQ	224(b), (F14, F15) \
	FLDPQ	256(b), (F16, F17) \
	FLDPQ	288(b), (F18, F19) \
	FLDPQ	320(b), (F20, F21) \
	FLDPQ	352(b), (F22, F23) \
	FLDPQ	384(b), (F24, F25) \
	FLDPQ	416(b), (F26, F27) \
	FLDPQ	448(b), (F28, F29) \
	FLDPQ	480(b), (F30, F31) \
	MOVWU	512(b), t \
	MSR	t, FPSR \
	MOVWU	516(b), t \
	MSR	t, FPCR

// END_FRAMES ends the chain of frame pointers: what follows was not called by the code before.
#define END_FRAMES MOVD	ZR, R29
