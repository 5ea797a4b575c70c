#include "textflag.h"

#define PAGES 0x800041000000

// R8 = data, RSP = stack, R20 = CPU number.
#define START \
	MOVD $PAGES, R8; \
	MOVD $0x4000, R2; ADD R8, R2, R2; \
	MOVD R2, RSP; \
	MOVD R1, R20

// Only CPU 0 goes on.
#define FIRST \
	CBZ R1, 3(PC); WFI; JMP -1(PC)

// PSCI SYSTEM_OFF.
#define END \
	MOVD $0x84000008, R0; HVC $0; WFI; JMP -1(PC)

// entryStores does one of each kind, in the order that the test knows.
TEXT ·entryStores(SB), NOSPLIT|NOFRAME, $0
	MOVD $·keep(SB), R9 // so that the linker keeps the others
	FIRST
	START
	MOVD $0x1122334455667788, R0
	MOVD $0x99, R1
	MOVD R0, (R8)
	MOVB R1, 0x10(R8)
	MOVD $0xffc, R2
	MOVD R0, (R8)(R2)
	STP (R0, R1), 0x20(R8)
	VDUP R0, V0.D2
	VMOV V0.B16, V1.B16
	VMOV V0.B16, V2.B16
	VMOV V0.B16, V3.B16
	FSTPQ (F0, F1), 0x40(R8)
	ADD $0x60, R8, R9
loop:
	LDAXR (R9), R10
	ADD $5, R10, R10
	STLXR R10, (R9), R11
	CBNZ R11, loop
	ADD $0x70, R8, R9
	LDADDALD R1, (R9), R10
	SWPALD R0, (R9), R10
	MOVD R0, R10
	CASALD R10, (R9), R1
	ADD $0x80, R8, R9
	VST1 [V0.B16, V1.B16, V2.B16, V3.B16], (R9)
	ADD $0x110, R8, R9
	DC ZVA, R9
	ADD $0x180, R8, R9
	STLR R0, (R9)
	ADD $0x200, R8, R9
	MOVD R9, RSP
	MOVD.W R0, -16(RSP)
	MOVD $0x1ff0, R2
	ADD R8, R2, R2
	ADD $0xff8, R8, R9
	STP (R0, R1), (R9)
	ADD $0x300, R8, R9
	MOVD ZR, (R9)
	END

// entryCount: every CPU stores 1, 2, 3... to its own word of one page, as often as the word at 0x2000 says; the last
// one to finish (a count at 0x2008, of CPUs at 0x2010) powers off.
TEXT ·entryCount(SB), NOSPLIT|NOFRAME, $0
	START
	LSL $3, R20, R3
	ADD R8, R3, R3
	MOVD $0x2000, R9
	ADD R8, R9, R9
	MOVD (R9), R4
	MOVD $0, R0
again:
	ADD $1, R0, R0
	MOVD R0, (R3)
	CMP R0, R4
	BNE again
	MOVD $1, R0
	ADD $8, R9, R10
	LDADDALD R0, (R10), R0
	ADD $1, R0, R0
	MOVD 16(R9), R1
	CMP R0, R1
	BNE wait
	END
wait:
	WFI
	JMP wait

// entryAdd: every CPU adds 1 to one word with exclusive loads and stores, as often as the word at 0x2000 says.
TEXT ·entryAdd(SB), NOSPLIT|NOFRAME, $0
	START
	MOVD $0x2000, R9
	ADD R8, R9, R9
	MOVD (R9), R4
again:
	LDAXR (R8), R10
	ADD $1, R10, R10
	STLXR R10, (R8), R11
	CBNZ R11, again
	SUB $1, R4, R4
	CBNZ R4, again
	MOVD $1, R0
	ADD $8, R9, R10
	LDADDALD R0, (R10), R0
	ADD $1, R0, R0
	MOVD 16(R9), R1
	CMP R0, R1
	BNE wait
	END
wait:
	WFI
	JMP wait

// entryReads loads, and stores what it has loaded elsewhere.
TEXT ·entryReads(SB), NOSPLIT|NOFRAME, $0
	FIRST
	START
	MOVD 0x10(R8), R0
	MOVD R0, 0x2018(R8)
	MOVD $9, R1
	MOVD R1, 0x10(R8)
	END

// entryTraps raises debug exceptions of its own, as often as the word at 0x2000 says: BRK. The handler counts them in R22,
// which goes to 0x2018. R21 counts down.
TEXT ·entryTraps(SB), NOSPLIT|NOFRAME, $0
	FIRST
	START
	MOVD 0x2000(R8), R21
	MOVD $0, R22
	MOVD $·vectors(SB), R0
	MSR R0, VBAR_EL1
	ISB $15
again:
	BRK $0
	SUB $1, R21, R21
	CBNZ R21, again
	MOVD R22, 0x2018(R8)
	MOVD R22, (R8)
	END

#define NOOP8 NOOP; NOOP; NOOP; NOOP; NOOP; NOOP; NOOP; NOOP
#define NOOP32 NOOP8; NOOP8; NOOP8; NOOP8

// vectors has one for synchronous exceptions of EL1 with its own stack pointer, at 0x200: behind the BRK it goes on.
TEXT ·vectors(SB), NOSPLIT|NOFRAME, $0
	PCALIGN $2048
	NOOP32; NOOP32; NOOP32; NOOP32
	ADD $1, R22, R22
	MRS ELR_EL1, R0
	ADD $4, R0, R0
	MSR R0, ELR_EL1
	ERET

// The other entries.
DATA ·keep+0(SB)/8, $·entryStores(SB)
DATA ·keep+8(SB)/8, $·entryCount(SB)
DATA ·keep+16(SB)/8, $·entryAdd(SB)
DATA ·keep+24(SB)/8, $·entryReads(SB)
DATA ·keep+32(SB)/8, $·entryTraps(SB)
GLOBL ·keep(SB), NOPTR, $40
