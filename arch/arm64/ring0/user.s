//go:build arm64

#include "go_asm.h"
#include "textflag.h"
#include "macros.h"

// func enterUser(c *UserContext) (entered bool)
//
// Enters user mode with c and returns when user mode traps. On the goroutine's own stack
// (SP_EL0), interrupts on. The frame slot saved keeps g; everything else is dead across the call in
// Go's assembly ABI. LR is at 0(RSP) by the assembler's prologue.
TEXT ·enterUser(SB), NOSPLIT, $32-9
	MOVD	c+0(FP), R0 // R0 = UserContext
	MSR	$15, DAIFSet
	MRS	TPIDR_EL1, R1 // R1 = area; this thread cannot move to another CPU from here on
	MOVD	g, saved-8(SP)

	// Announce the CPU, then look for a kick: UserContext.Interrupt does the two in the other
	// order, with a full barrier between on both sides.
	MOVD	cpu_index(R1), R2
	MOVD	UserContext_allowed(R0), R3
	LSR	R2, R3, R3
	TBZ	$0, R3, elsewhere
	MOVW	R2, UserContext_last(R0)
	ADD	$1, R2
	MOVW	R2, UserContext_cpu(R0)
	DMB	$11
	MOVWU	UserContext_kick(R0), R2
	CBNZ	R2, kicked

	// How the trap comes back: stack pointer and label.
	MOVD	RSP, R2
	ADR	back, R3
	MOVD	R2, cpu_userSP(R1)
	MOVD	R3, cpu_userPC(R1)
	MOVD	R0, cpu_user(R1)
	MOVD	g, cpu_userG(R1)

	// The address space, if it is another one. The root is announced first, then the
	// cache of ASIDs is looked at: FlushUser does the two in the other order.
	MOVD	UserContext_root(R0), R2
	MOVD	cpu_root(R1), R3
	CMP	R2, R3
	BEQ	loaded
	MOVD	R2, cpu_root(R1)
	DMB	$11
	ADD	$cpu_asids, R1, R4
	UBFX	$12, R2, $6, R3 // slot = frame number modulo asidSlots
	ADD	R3<<3, R4, R4
	MOVD	(R4), R5
	UBFX	$0, R5, $48, R6
	CMP	R2, R6
	BEQ	tagged

	// A new ASID: R6. When there are no more, start again with an empty TLB, leaving the old
	// ASID first, so that nothing can be cached under it in between.
	MOVD	cpu_lastASID(R1), R6
	ADD	$1, R6
	MOVD	·asidLimit(SB), R7
	CMP	R7, R6
	BLO	fresh
	MOVD	·kernelRoot(SB), R7
	MSR	R7, TTBR0_EL1
	ISB	$15
	ADD	$cpu_asids, R1, R7
	MOVD	$const_asidSlots, R8
forget:
	MOVD.P	ZR, 8(R7)
	SUB	$1, R8
	CBNZ	R8, forget
	TLBI	VMALLE1
	DSB	$7
	ISB	$15
	MOVD	$1, R6
fresh:
	MOVD	R6, cpu_lastASID(R1)
	ORR	R6<<48, R2, R5
	MOVD	R5, (R4)
tagged:
	MSR	R5, TTBR0_EL1
	ISB	$15
loaded:
	ADD	$UserContext_vector, R0, R2
	LOAD_V(R2, R3)

	// SP_EL0 can only be written from the other stack pointer.
	MSR	$1, SPSel
	MOVD	Regs_SP(R0), R2
	MOVD	Regs_PC(R0), R3
	MOVD	Regs_PState(R0), R4
	MOVD	Regs_TLS(R0), R5
	MSR	R2, SP_EL0
	MSR	R3, ELR_EL1
	MSR	R4, SPSR_EL1
	MSR	R5, TPIDR_EL0
	DSB	$10 // page-table entries written so far are visible to the walker
	LOAD_X2_X17(R0)
	MOVD	144(R0), R18_PLATFORM
	LOAD_X19_X30(R0)
	LDP	0(R0), (R0, R1)
	ERET

	// Back from user mode, by userSync directly or by way of the thread's Context. Until g is Go's
	// again no interrupt may come: it could bring a signal, whose handler looks at g.
back:
	MOVD	saved-8(SP), g
	SUB	$8, RSP, R29
	MSR	$6, DAIFClr // IRQ and SError; debug and FIQ stay masked in the kernel
	MOVD	0(RSP), R30 // the assembler takes this function for a leaf that keeps LR
	MOVD	$1, R0
	MOVB	R0, entered+8(FP)
	RET

	// Not on this CPU.
elsewhere:
	MOVD	$const_syndromeElsewhere, R2
	MOVD	R2, UserContext_syndrome(R0)
	MSR	$6, DAIFClr
	MOVD	$1, R0
	MOVB	R0, entered+8(FP)
	RET

kicked:
	MOVW	ZR, UserContext_cpu(R0)
	MSR	$6, DAIFClr
	MOVB	ZR, entered+8(FP)
	RET

// SAVE_USER stores everything of user mode in its UserContext.
// After it: R0 = UserContext, R1 = area. The stack is SP_EL1, empty.
#define SAVE_USER \
	SUB	$16, RSP \
	STP	(R0, R1), 0(RSP) \
	MRS	TPIDR_EL1, R1 \
	MOVD	cpu_user(R1), R0 \
	SAVE_X2_X17(R0) \
	MOVD	R18_PLATFORM, 144(R0) \
	SAVE_X19_X30(R0) \
	LDP	0(RSP), (R2, R3) \
	ADD	$16, RSP \
	STP	(R2, R3), 0(R0) \
	MRS	SP_EL0, R2 \
	MRS	ELR_EL1, R3 \
	MRS	SPSR_EL1, R4 \
	MRS	TPIDR_EL0, R5 \
	MOVD	R2, Regs_SP(R0) \
	MOVD	R3, Regs_PC(R0) \
	MOVD	R4, Regs_PState(R0) \
	MOVD	R5, Regs_TLS(R0) \
	ADD	$UserContext_vector, R0, R2 \
	SAVE_V(R2, R3) \
	MOVW	ZR, UserContext_cpu(R0) \
	MOVD	ZR, cpu_user(R1)

// Synchronous exception in user mode: return from enterUser, nothing in between. What
// happened is left undecoded in the context: ESR and FAR.
TEXT ·userSync(SB), NOSPLIT|NOFRAME|TOPFRAME, $0
	// Who am I? Answered here, with no register but X0 touched: calls 172 to 178 are getpid, getppid (not ours), getuid, geteuid, getgid, getegid, gettid,
	// in Identity's order. R0 = class, then number, then answer; R1 = area, then UserContext. As in Linux, the number is the low half.
	SUB	$16, RSP
	STP	(R0, R1), 0(RSP)
	MRS	ESR_EL1, R0
	LSR	$26, R0, R0
	CMP	$0x15, R0 // SVC from AArch64
	BNE	slow
	MRS	TPIDR_EL1, R1
	MOVD	cpu_user(R1), R1
	MOVWU	UserContext_identified(R1), R0
	CBZ	R0, slow
	SUBW	$172, R8, R0
	CMPW	$6, R0
	BHI	slow
	CMPW	$1, R0
	BEQ	slow
	MOVWU	R0, R0
	ADD	R0<<2, R1, R1
	MOVWU	UserContext_identity(R1), R0
	MOVD	8(RSP), R1
	ADD	$16, RSP
	ERET
slow:
	LDP	0(RSP), (R0, R1)
	ADD	$16, RSP
	SAVE_USER
	MRS	ESR_EL1, R2
	MRS	FAR_EL1, R3
	MOVD	R2, UserContext_syndrome(R0)
	MOVD	R3, UserContext_fault(R0)
	MOVD	cpu_userSP(R1), R2
	MOVD	cpu_userPC(R1), R3
	MSR	R2, SP_EL0
	MSR	$0, SPSel
	JMP	(R3)

// Interrupt in user mode: the thread is made to return from enterUser whenever it runs next,
// then the interrupt is handled.
TEXT ·userIRQ(SB), NOSPLIT|NOFRAME|TOPFRAME, $0
	SAVE_USER
	MOVD	$const_syndromeInterrupt, R2
	MOVD	R2, UserContext_syndrome(R0)
	MOVD	cpu_thread(R1), R18_PLATFORM
	MOVD	cpu_userSP(R1), R2
	MOVD	cpu_userPC(R1), R3
	MOVD	·pstateKernel(SB), R4
	MOVD	R2, Frame_SP(R18_PLATFORM)
	MOVD	R3, Frame_ELR(R18_PLATFORM)
	MOVD	R4, Frame_SPSR(R18_PLATFORM)
	MOVD	ZR, Context_Resume(R18_PLATFORM)
	MOVD	cpu_userG(R1), R3
	MOVD	R3, 224(R18_PLATFORM) // x28: a signal handler of the runtime wants its g
	SUB	$8, R2
	MOVD	R2, 232(R18_PLATFORM) // x29: enterUser's own frame
	ADD	$cpu_fakeG, R1, g
	END_FRAMES
	SUB	$32, RSP
	MOVD	R18_PLATFORM, 8(RSP)
	BL	·interrupt(SB)
	ADD	$32, RSP
	B	·resume(SB)
