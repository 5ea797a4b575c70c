#include "textflag.h"

#define PAGES 0xffff888001000000

// R8 = data, SP = stack; vector registers on (XCR0 = 7: x87, SSE, AVX).
#define START \
	MOVQ $PAGES, R8; \
	LEAQ 0x4000(R8), SP; \
	MOVQ SI, R15; \
	XORL CX, CX; XORL DX, DX; MOVL $7, AX; \
	BYTE $0x0f; BYTE $0x01; BYTE $0xd1

// Only CPU 0 goes on.
#define FIRST \
	TESTQ SI, SI; JEQ 3(PC); HLT; JMP -1(PC)

// Power off.
#define END \
	MOVW $0x604, DX; XORL AX, AX; OUTL; HLT; JMP -1(PC)

// entryStores does one of each kind, in the order that the test knows.
TEXT ·entryStores(SB), NOSPLIT|NOFRAME, $0
	LEAQ ·keep(SB), R9 // so that the linker keeps the others
	FIRST
	START
	MOVQ $0x1122334455667788, AX
	MOVQ AX, (R8)
	MOVB $1, 0x10(R8)
	MOVQ AX, 0xffc(R8)
	LEAQ 0x800(R8), SP
	PUSHQ AX
	PUSHFQ
	CALL ·ret(SB)
	LEAQ 0x4000(R8), SP
	MOVQ $0, AX
	MOVQ $0, DX
	MOVQ $5, BX
	MOVQ $6, CX
	LOCK
	CMPXCHG16B 0x20(R8)
	LOCK
	INCL 0x30(R8)
	MOVQ $7, AX
	XCHGQ AX, 0x38(R8)
	MOVQ $0x4141414141414141, AX
	MOVQ AX, X0
	PUNPCKLQDQ X0, X0
	MOVUPS X0, 0x40(R8)
	VPBROADCASTQ X0, Y0
	VMOVDQU Y0, 0x60(R8)
	VMOVDQU Y0, 0xff0(R8)
	LEAQ 0xf80(R8), DI
	MOVQ $0x100, CX
	MOVB $0x42, AX
	CLD
	REP; STOSB
	LEAQ 0x1f8(R8), DI
	MOVQ $4, CX
	MOVQ $0x43, AX
	STD
	REP; STOSQ
	CLD
	LEAQ 0x400(R8), DI
	MOVL $7, AX
	XORL DX, DX
	XSAVE64 (DI)
	LEAQ 0x2000(R8), SI
	LEAQ 0x300(R8), DI
	MOVQ $0x10, CX
	REP; MOVSB
	MOVNTIQ AX, 0x320(R8)
	MOVQ $0, 0x200(R8)
	BTSQ $3, 0x208(R8)
	END

TEXT ·ret(SB), NOSPLIT|NOFRAME, $0
	RET

// entryCount: every CPU stores 1, 2, 3... to its own word of one page, as often as the word at 0x2000 says; the last
// one to finish (a count at 0x2008, of CPUs at 0x2010) powers off.
TEXT ·entryCount(SB), NOSPLIT|NOFRAME, $0
	START
	MOVQ R15, BX
	SHLQ $3, BX
	ADDQ R8, BX
	MOVQ 0x2000(R8), CX
	XORL AX, AX
again:
	INCQ AX
	MOVQ AX, (BX)
	CMPQ AX, CX
	JNE again
	MOVQ $1, AX
	LOCK
	XADDQ AX, 0x2008(R8)
	INCQ AX
	CMPQ AX, 0x2010(R8)
	JNE wait
	END
wait:
	HLT
	JMP wait

// entryAdd: every CPU adds 1 atomically to one word, as often as the word at 0x2000 says.
TEXT ·entryAdd(SB), NOSPLIT|NOFRAME, $0
	START
	MOVQ 0x2000(R8), CX
again:
	LOCK
	INCQ (R8)
	DECQ CX
	JNE again
	MOVQ $1, AX
	LOCK
	XADDQ AX, 0x2008(R8)
	INCQ AX
	CMPQ AX, 0x2010(R8)
	JNE wait
	END
wait:
	HLT
	JMP wait

// entryReads loads, and stores what it has loaded elsewhere.
TEXT ·entryReads(SB), NOSPLIT|NOFRAME, $0
	FIRST
	START
	MOVQ 0x10(R8), AX
	MOVQ AX, 0x2018(R8)
	MOVQ $9, 0x10(R8)
	END

// entryDelivery raises an exception (#UD) on a stack at 0x800 of the first page; its handler powers off. The gate is
// built at 0x2100, the pseudo-descriptor at 0x2000.
TEXT ·entryDelivery(SB), NOSPLIT|NOFRAME, $0
	FIRST
	START
	LEAQ ·handler(SB), AX
	MOVW AX, 0x2160(R8)
	MOVW $8, 0x2162(R8)
	MOVB $0x8e, 0x2165(R8)
	SHRQ $16, AX
	MOVW AX, 0x2166(R8)
	SHRQ $16, AX
	MOVL AX, 0x2168(R8)
	MOVW $0x7f, 0x2000(R8)
	LEAQ 0x2100(R8), AX
	MOVQ AX, 0x2002(R8)
	LIDT 0x2000(R8)
	LEAQ 0x800(R8), SP
	UD2

// entryTraps raises debug exceptions of its own, as often as the word at 0x2000 says: single steps by RFLAGS.TF. The handler counts
// them in R14, which goes to 0x2018. The gate of #DB is built at 0x2110.
TEXT ·entryTraps(SB), NOSPLIT|NOFRAME, $0
	FIRST
	START
	MOVQ 0x2000(R8), R13
	XORL R14, R14
	LEAQ ·counter(SB), AX
	MOVW AX, 0x2110(R8)
	MOVW $8, 0x2112(R8)
	MOVB $0x8e, 0x2115(R8)
	SHRQ $16, AX
	MOVW AX, 0x2116(R8)
	SHRQ $16, AX
	MOVL AX, 0x2118(R8)
	MOVW $0x7f, 0x2020(R8)
	LEAQ 0x2100(R8), AX
	MOVQ AX, 0x2022(R8)
	LIDT 0x2020(R8)
again:
	PUSHFQ
	ORQ $0x100, (SP)
	POPFQ
	NOP
	DECQ R13
	JNE again
	MOVQ R14, 0x2018(R8)
	MOVQ R14, (R8)
	END

// counter clears TF in its frame.
TEXT ·counter(SB), NOSPLIT|NOFRAME, $0
	INCQ R14
	ANDQ $~0x100, 16(SP)
	IRETQ

TEXT ·handler(SB), NOSPLIT|NOFRAME, $0
	END

#define MSRWRITE(n) MOVL $n, CX; XORL DX, DX; WRMSR

// entryStorm: every CPU, as often as the word at 0x2000 says, arms its timer for a moment that wanders over the stores that
// follow, stores to its own word (0), to a common one (0x80) with LOCK and to its own by rep stos (0xc0), all with the
// round's number, and waits for the interrupt. The handler counts at 0x2040 and stores the count to its CPU's word at 0x40; if
// it finds the trap flag in the flags pushed, which nobody here sets, it says so at 0x2060. Gate 0x40 is at 0x2c00.
TEXT ·entryStorm(SB), NOSPLIT|NOFRAME, $0
	START
	MOVQ R15, AX
	SHLQ $10, AX
	SUBQ AX, SP
	LEAQ ·tick(SB), AX
	MOVW AX, 0x2c00(R8)
	MOVW $8, 0x2c02(R8)
	MOVW $0x8e00, 0x2c04(R8)
	SHRQ $16, AX
	MOVW AX, 0x2c06(R8)
	SHRQ $16, AX
	MOVL AX, 0x2c08(R8)
	MOVQ R15, BX
	SHLQ $4, BX
	ADDQ R8, BX
	MOVW $0x40f, 0x2f00(BX)
	LEAQ 0x2800(R8), AX
	MOVQ AX, 0x2f02(BX)
	LIDT 0x2f00(BX)
	MOVL $0x1ff, AX // local APIC on, in x2APIC mode
	MSRWRITE(0x80f)
	MOVL $0x40, AX // one shot, vector 0x40
	MSRWRITE(0x832)
	MOVL $0xb, AX // undivided
	MSRWRITE(0x83e)
	MOVQ R15, BX // BX = this CPU's words, R12 = round, R14 = rounds
	SHLQ $3, BX
	ADDQ R8, BX
	MOVQ 0x2000(R8), R14
	XORL R12, R12
	CLD
	STI
again:
	INCQ R12
	IMUL3Q $7919, R12, AX
	ANDL $0x3ffff, AX
	ADDL $1000, AX
	MSRWRITE(0x838)
	MOVQ R12, (BX)
	LOCK
	INCQ 0x80(R8)
	LEAQ 0xc0(BX), DI
	MOVQ R12, AX
	MOVL $1, CX
	REP; STOSQ
ticked:
	PAUSE
	CMPQ R12, 0x2040(BX)
	JNE ticked
	CMPQ R12, R14
	JNE again
	CLI
	MOVQ $1, AX
	LOCK
	XADDQ AX, 0x2008(R8)
	INCQ AX
	CMPQ AX, 0x2010(R8)
	JNE wait
	END
wait:
	HLT
	JMP wait

TEXT ·tick(SB), NOSPLIT|NOFRAME, $0
	PUSHQ AX
	PUSHQ CX
	PUSHQ DX
	MOVQ 0x28(SP), AX // RFLAGS of the frame
	ANDL $0x100, AX
	ORQ AX, 0x2060(R8)
	MOVQ 0x2040(BX), AX
	INCQ AX
	MOVQ AX, 0x40(BX)
	MOVQ AX, 0x2040(BX)
	XORL AX, AX // end of interrupt
	MSRWRITE(0x80b)
	POPQ DX
	POPQ CX
	POPQ AX
	IRETQ

// The other entries.
DATA ·keep+0(SB)/8, $·entryStores(SB)
DATA ·keep+8(SB)/8, $·entryCount(SB)
DATA ·keep+16(SB)/8, $·entryAdd(SB)
DATA ·keep+24(SB)/8, $·entryReads(SB)
DATA ·keep+32(SB)/8, $·entryDelivery(SB)
DATA ·keep+40(SB)/8, $·entryTraps(SB)
DATA ·keep+48(SB)/8, $·entryStorm(SB)
GLOBL ·keep(SB), NOPTR, $56
