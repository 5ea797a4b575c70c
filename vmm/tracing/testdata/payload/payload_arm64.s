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

#define DIRECT 0x800000000000

// entryStorm: every CPU, as often as the word at 0x2000 says, arms its timer for a moment that wanders over the stores that
// follow, stores to its own word (0), to a common one (0x80) with an atomic addition and to its own by an exclusive pair (0xc0),
// all counting up, and waits for the interrupt. The handler counts at 0x2040 and stores the count to its CPU's word at 0x40.
TEXT ·entryStorm(SB), NOSPLIT|NOFRAME, $0
	START
	LSL $10, R20, R2
	MOVD RSP, R3
	SUB R2, R3, R3
	MOVD R3, RSP
	MOVD $·stormVectors(SB), R0
	MSR R0, VBAR_EL1
	ISB $15
	MOVD $(DIRECT+0x08000000), R0 // distributor: affinity routing, group 1
	MOVD $0x12, R1
	MOVW R1, (R0)
	MOVD $(DIRECT+0x080a0000), R0 // this CPU's redistributor
	LSL $17, R20, R1
	ADD R1, R0, R0
	MOVW 0x14(R0), R1
	AND $~2, R1, R1
	MOVW R1, 0x14(R0)
awake:
	MOVW 0x14(R0), R1
	TBNZ $2, R1, awake
	MOVD $0x10000, R1
	ADD R1, R0, R0
	MOVD $0xa0a0a0a0, R1 // priorities of interrupts 24 to 27
	MOVW R1, 0x418(R0)
	MOVD $0x08000000, R1 // number 27, the virtual timer: group 1, on
	MOVW R1, 0x80(R0)
	MOVW R1, 0x100(R0)
	MRS ICC_SRE_EL1, R0
	ORR $1, R0
	MSR R0, ICC_SRE_EL1
	ISB $15
	MOVD $0xff, R0
	MSR R0, ICC_PMR_EL1
	MSR ZR, ICC_CTLR_EL1
	MOVD $1, R0
	MSR R0, ICC_IGRPEN1_EL1
	ISB $15
	LSL $3, R20, R3 // R3 = this CPU's words, R14 = its count of ticks, R12 = round, R4 = rounds
	ADD R8, R3, R3
	MOVD $0x2040, R14
	ADD R3, R14, R14
	MOVD $0x2000, R9
	ADD R8, R9, R9
	MOVD (R9), R4
	ADD $0x80, R8, R5
	ADD $0xc0, R3, R6
	MOVD $0, R12
	MSR $2, DAIFClr
again:
	ADD $1, R12, R12
	MOVD $7919, R0
	MUL R12, R0, R0
	AND $0x3fff, R0, R0
	ADD $60, R0, R0
	MRS CNTVCT_EL0, R1
	ADD R1, R0, R0
	MSR R0, CNTV_CVAL_EL0
	MOVD $1, R0
	MSR R0, CNTV_CTL_EL0
	ISB $15
	MOVD R12, (R3)
	LDADDALD R0, (R5), R1
exclusive:
	LDAXR (R6), R10
	ADD $1, R10, R10
	STLXR R10, (R6), R11
	CBNZ R11, exclusive
ticked:
	YIELD
	MOVD (R14), R0
	CMP R0, R12
	BNE ticked
	CMP R4, R12
	BNE again
	MSR $2, DAIFSet
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

// tick keeps R0 and R1 and uses R3 and R14 of entryStorm.
TEXT ·tick(SB), NOSPLIT|NOFRAME, $0
	STP.W (R0, R1), -16(RSP)
	MRS ICC_IAR1_EL1, R0
	DSB $15
	CMP $27, R0
	BNE out
	MSR ZR, CNTV_CTL_EL0
	ISB $15
	MOVD (R14), R1
	ADD $1, R1, R1
	MOVD R1, 0x40(R3)
	MOVD R1, (R14)
	MSR R0, ICC_EOIR1_EL1
	ISB $15
out:
	LDP.P 16(RSP), (R0, R1)
	ERET

// stormVectors: interrupts of EL1h go to tick, all else stays where it is.
TEXT ·stormVectors(SB), NOSPLIT|NOFRAME, $0
	PCALIGN $2048
	JMP 0(PC)
	PCALIGN $128
	JMP 0(PC)
	PCALIGN $128
	JMP 0(PC)
	PCALIGN $128
	JMP 0(PC)
	PCALIGN $128
	JMP 0(PC)
	PCALIGN $128
	JMP ·tick(SB)
	PCALIGN $128
	JMP 0(PC)

// The other entries.
DATA ·keep+0(SB)/8, $·entryStores(SB)
DATA ·keep+8(SB)/8, $·entryCount(SB)
DATA ·keep+16(SB)/8, $·entryAdd(SB)
DATA ·keep+24(SB)/8, $·entryReads(SB)
DATA ·keep+32(SB)/8, $·entryTraps(SB)
DATA ·keep+40(SB)/8, $·entryStorm(SB)
GLOBL ·keep(SB), NOPTR, $48
