//go:build arm64

#include "go_asm.h"
#include "textflag.h"
#include "macros.h"

// The user's registers and a thread's share their layout: x0 to x30 at 8*n, then Frame's fields. Frame
// is the first field of Context, so Frame_SP(context) is right.

// Boot stack of CPU 0, used until it has its own area.
GLOBL ·bootStack(SB), NOPTR, $65536

// func entry()
//
// Every vCPU starts here: EL1h, MMU on with the boot tables, interrupts masked.
// R0 = GPA of the boot info page, R1 = CPU number. SP is undefined.
TEXT ·entry(SB), NOSPLIT|NOFRAME|TOPFRAME, $0
	MSR	$15, DAIFSet
	MSR	$1, SPSel
	MOVD	R0, R19 // boot info
	MOVD	R1, R20 // CPU number

	// Vectors, and NEON for EL0 and EL1 (CPACR_EL1.FPEN = 3; SVE stays trapped).
	MOVD	$·vectors(SB), R2
	MSR	R2, VBAR_EL1
	MOVD	$(3<<20), R2
	MSR	R2, CPACR_EL1
	ISB	$15
	MSR	ZR, FPCR
	MSR	ZR, TPIDR_EL0
	MSR	ZR, TPIDRRO_EL0

	// SCTLR_EL1: let EL0 use DC ZVA (bit 14), CTR_EL0 (15), WFI and WFE (16, 18) and cache
	// maintenance (26); check stack alignment at EL0 (4); set PAN on every exception (23 = 0).
	MRS	SCTLR_EL1, R2
	MOVD	$((1<<14)|(1<<15)|(1<<16)|(1<<18)|(1<<26)|(1<<4)), R3
	ORR	R3, R2
	MOVD	$(1<<23), R3
	BIC	R3, R2
	MSR	R2, SCTLR_EL1

	// EL0 may read the virtual counter, not the physical one, and no timer.
	MOVD	$2, R2
	MSR	R2, CNTKCTL_EL1
	MSR	ZR, CNTV_CTL_EL0
	ISB	$15

	CBNZ	R20, wait
	MRS	CNTVCT_EL0, R2
	MOVD	R2, ·entryCounter(SB)

	// CPU 0: a boot area, so that an early exception is reported, and Handlers.Boot.
	MOVD	$·bootCPU(SB), R2
	MSR	R2, TPIDR_EL1
	MOVD	$·bootStack(SB), R3
	MOVD	$65536, R4
	ADD	R3, R4, R4
	MOVD	R4, RSP
	MRS	TTBR0_EL1, R5
	MOVD	R5, cpu_root(R2)
	ADD	$cpu_fakeG, R2, g
	ADD	$16384, R3, R3 // the lower quarter is the stack for fatal exceptions
	MOVD	R3, cpu_fatal(R2)
	MOVD	R3, 0(g)  // stack.lo
	MOVD	R4, 8(g)  // stack.hi
	ADD	$1024, R3, R3
	MOVD	R3, 16(g) // stackguard0
	MOVD	R3, 24(g) // stackguard1
	END_FRAMES
	MOVD	ZR, R30
	SUB	$32, RSP
	MOVD	R19, 8(RSP)
	BL	·boot(SB)
	ADD	$32, RSP
	MOVD	ZR, R20 // Go keeps no register across calls

	// Wait for the area of this CPU. CPU 0 finds it at once. PublishArea sends an event.
wait:
	MOVD	$·areas(SB), R2
	ADD	R20<<3, R2, R2
again:
	LDAR	(R2), R3
	CBNZ	R3, found
	WFE
	B	again

	// R3 = area, which the boot tables do not map. Switch to the kernel's own root, then to
	// this CPU's area and stack.
found:
	MOVD	·kernelRoot(SB), R4
	DSB	$15
	MSR	R4, TTBR0_EL1
	ISB	$15
	TLBI	VMALLE1
	DSB	$7
	ISB	$15
	MSR	R3, TPIDR_EL1
	MOVD	cpu_stack(R3), R4
	MOVD	R4, RSP
	ADD	$cpu_fakeG, R3, g
	END_FRAMES
	MOVD	ZR, R30
	SUB	$32, RSP
	MOVD	R20, 8(RSP)
	BL	·start(SB)
	ADD	$32, RSP
	B	·resume(SB)

// The vector table (Arm ARM D1.3.1.3): four groups of four entries of 128 bytes.
TEXT ·vectors(SB), NOSPLIT|NOFRAME|TOPFRAME, $0
	PCALIGN	$2048
	B	·kernelSync(SB) // EL1t: kernel Go code
	PCALIGN	$128
	B	·kernelIRQ(SB)
	PCALIGN	$128
	B	·kernelError(SB) // FIQ: group 0 is not enabled
	PCALIGN	$128
	B	·kernelError(SB)
	PCALIGN	$128
	B	·nucleusError(SB) // EL1h: the nucleus itself
	PCALIGN	$128
	B	·nucleusError(SB)
	PCALIGN	$128
	B	·nucleusError(SB)
	PCALIGN	$128
	B	·nucleusError(SB)
	PCALIGN	$128
	B	·userSync(SB) // EL0, AArch64
	PCALIGN	$128
	B	·userIRQ(SB)
	PCALIGN	$128
	B	·userError(SB)
	PCALIGN	$128
	B	·userError(SB)
	PCALIGN	$128
	B	·userError(SB) // EL0, AArch32: SPSR never selects it
	PCALIGN	$128
	B	·userError(SB)
	PCALIGN	$128
	B	·userError(SB)
	PCALIGN	$128
	B	·userError(SB)
	PCALIGN	$128

// SAVE_KERNEL stores the general registers of the interrupted kernel thread in its Context.
// After it: R18 = Context, R19 = area, g = the handlers' own g. The stack is SP_EL1, empty.
#define SAVE_KERNEL \
	MRS	TPIDR_EL1, R18_PLATFORM \
	MOVD	cpu_thread(R18_PLATFORM), R18_PLATFORM \
	STP	(R0, R1), 0(R18_PLATFORM) \
	SAVE_X2_X17(R18_PLATFORM) \
	SAVE_X19_X30(R18_PLATFORM) \
	MRS	SP_EL0, R0 \
	MRS	ELR_EL1, R1 \
	MRS	SPSR_EL1, R2 \
	MOVD	R0, Frame_SP(R18_PLATFORM) \
	MOVD	R1, Frame_ELR(R18_PLATFORM) \
	MOVD	R2, Frame_SPSR(R18_PLATFORM) \
	MRS	TPIDR_EL1, R19 \
	ADD	$cpu_fakeG, R19, g \
	END_FRAMES

// Synchronous exception in kernel Go code: SVC, or a fault.
TEXT ·kernelSync(SB), NOSPLIT|NOFRAME|TOPFRAME, $0
	SAVE_KERNEL
	MRS	ESR_EL1, R1
	LSR	$26, R1, R2
	CMP	$0x15, R2 // SVC64
	BNE	fault
	MOVD	ZR, Context_Resume(R18_PLATFORM) // resumeCall
	SUB	$32, RSP
	MOVD	R18_PLATFORM, 8(RSP)
	BL	·trapSyscall(SB)
	ADD	$32, RSP
	B	·resume(SB)

fault:
	MOVD	Context_Vector(R18_PLATFORM), R2
	SAVE_V(R2, R3)
	MOVD	$const_resumeTrap, R2
	MOVD	R2, Context_Resume(R18_PLATFORM)
	MRS	FAR_EL1, R2
	SUB	$32, RSP
	MOVD	R18_PLATFORM, 8(RSP)
	STP	(R1, R2), 16(RSP)
	BL	·exception(SB)
	ADD	$32, RSP
	B	·resume(SB)

// Interrupt in kernel Go code.
TEXT ·kernelIRQ(SB), NOSPLIT|NOFRAME|TOPFRAME, $0
	SAVE_KERNEL
	MOVD	Context_Vector(R18_PLATFORM), R2
	SAVE_V(R2, R3)
	MOVD	$const_resumeTrap, R2
	MOVD	R2, Context_Resume(R18_PLATFORM)
	SUB	$32, RSP
	MOVD	R18_PLATFORM, 8(RSP)
	BL	·interrupt(SB)
	ADD	$32, RSP
	B	·resume(SB)

// func resume()
//
// Continues the thread that is set on this CPU. The stack is SP_EL1, empty, interrupts masked.
TEXT ·resume(SB), NOSPLIT|NOFRAME|TOPFRAME, $0
	MRS	TPIDR_EL1, R18_PLATFORM
	MOVD	cpu_thread(R18_PLATFORM), R18_PLATFORM
	MOVD	Context_Resume(R18_PLATFORM), R0
	CBZ	R0, general // resumeCall: vector state is dead
	MOVD	Context_Vector(R18_PLATFORM), R1
	LOAD_V(R1, R2)
general:
	MOVD	Frame_SP(R18_PLATFORM), R0
	MOVD	Frame_ELR(R18_PLATFORM), R1
	MOVD	Frame_SPSR(R18_PLATFORM), R2
	MSR	R0, SP_EL0
	MSR	R1, ELR_EL1
	MSR	R2, SPSR_EL1
	DSB	$10 // ISHST: page-table entries that the handler wrote are visible to the walker
	LDP	0(R18_PLATFORM), (R0, R1)
	LOAD_X2_X17(R18_PLATFORM)
	LOAD_X19_X30(R18_PLATFORM)
	ERET

// An exception that is an error wherever it comes from: all registers go to the area's frame, the
// stack is the one for fatal exceptions, and Handlers.Fatal does not return.
// TPIDRRO_EL0 holds x0 meanwhile: nothing else uses it, and nobody returns to EL0 from here.
TEXT ·nucleusError(SB), NOSPLIT|NOFRAME|TOPFRAME, $0
	MSR	R0, TPIDRRO_EL0
	MRS	TPIDR_EL1, R0
	ADD	$cpu_frame, R0, R0
	STP	(R1, R2), 8(R0)
	MOVD	RSP, R1 // EL1h: the stack pointer of the failing code is this one
	MOVD	R1, Frame_SP(R0)
	LDP	8(R0), (R1, R2)
	B	·fatalTail(SB)

TEXT ·kernelError(SB), NOSPLIT|NOFRAME|TOPFRAME, $0
	MSR	R0, TPIDRRO_EL0
	MRS	TPIDR_EL1, R0
	ADD	$cpu_frame, R0, R0
	STP	(R1, R2), 8(R0)
	MRS	SP_EL0, R1
	MOVD	R1, Frame_SP(R0)
	LDP	8(R0), (R1, R2)
	B	·fatalTail(SB)

TEXT ·userError(SB), NOSPLIT|NOFRAME|TOPFRAME, $0
	B	·kernelError(SB)

// R0 = the area's frame, with Frame_SP set; x0 in TPIDRRO_EL0, other registers as they were.
TEXT ·fatalTail(SB), NOSPLIT|NOFRAME|TOPFRAME, $0
	MOVD	R1, 8(R0)
	SAVE_X2_X17(R0)
	MOVD	R18_PLATFORM, 144(R0)
	SAVE_X19_X30(R0)
	MRS	TPIDRRO_EL0, R1
	MOVD	R1, 0(R0)
	MRS	ELR_EL1, R1
	MRS	SPSR_EL1, R2
	MOVD	R1, Frame_ELR(R0)
	MOVD	R2, Frame_SPSR(R0)
	MRS	TPIDR_EL1, R19
	MOVD	cpu_fatal(R19), R1
	MOVD	R1, RSP
	ADD	$cpu_fatalG, R19, g
	MOVD	R1, 8(g) // stack.hi; lo is 12 KiB below
	SUB	$12288, R1, R2
	MOVD	R2, 0(g)
	ADD	$1024, R2, R2
	MOVD	R2, 16(g)
	MOVD	R2, 24(g)
	END_FRAMES
	MRS	ESR_EL1, R2
	MRS	FAR_EL1, R3
	SUB	$32, RSP
	MOVD	R0, 8(RSP)
	STP	(R2, R3), 16(RSP)
	BL	·fatal(SB)
stop:
	WFI
	B	stop
