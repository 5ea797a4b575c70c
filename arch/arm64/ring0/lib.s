//go:build arm64

#include "go_asm.h"
#include "textflag.h"

// Single instructions for Go. All of them are leaves without a frame.

// func currentCPU() *cpu
TEXT ·currentCPU(SB), NOSPLIT|NOFRAME, $0-8
	MRS	TPIDR_EL1, R0
	MOVD	R0, ret+0(FP)
	RET

// func currentIndex() uint64
TEXT ·currentIndex(SB), NOSPLIT|NOFRAME, $0-8
	MRS	TPIDR_EL1, R0
	MOVD	cpu_index(R0), R0
	MOVD	R0, ret+0(FP)
	RET

// func setThread(c *Context)
TEXT ·setThread(SB), NOSPLIT|NOFRAME, $0-8
	MRS	TPIDR_EL1, R0
	MOVD	c+0(FP), R1
	MOVD	R1, cpu_thread(R0)
	RET

// func Scheduler() (gp, sched uintptr)
TEXT ·Scheduler(SB), NOSPLIT|NOFRAME, $0-16
	MOVD	g, gp+0(FP)
	MOVD	$runtime·sched(SB), R0
	MOVD	R0, sched+8(FP)
	RET

// func Thread() *Context
TEXT ·Thread(SB), NOSPLIT|NOFRAME, $0-8
	MRS	TPIDR_EL1, R0
	MOVD	cpu_thread(R0), R0
	MOVD	R0, ret+0(FP)
	RET

// func Pause()
TEXT ·Pause(SB), NOSPLIT|NOFRAME, $0-0
	YIELD
	RET

// func Call(nr, a0, a1, a2, a3, a4, a5 uint64) uint64
// The registers of the Linux system call convention.
TEXT ·Call(SB), NOSPLIT|NOFRAME, $0-64
	MOVD	nr+0(FP), R8
	MOVD	a0+8(FP), R0
	MOVD	a1+16(FP), R1
	MOVD	a2+24(FP), R2
	MOVD	a3+32(FP), R3
	MOVD	a4+40(FP), R4
	MOVD	a5+48(FP), R5
	SVC
	MOVD	R0, ret+56(FP)
	RET

// func waitForInterrupt()
// WFI ends for a pending interrupt although PSTATE.I masks it.
TEXT ·waitForInterrupt(SB), NOSPLIT|NOFRAME, $0-0
	DSB	$15
	WFI
	RET

// func sendEvent()
TEXT ·sendEvent(SB), NOSPLIT|NOFRAME, $0-0
	DSB	$10
	SEV
	RET

// func counter() uint64
// CNTVCT_EL0; ISB keeps the read from moving before earlier instructions.
TEXT ·counter(SB), NOSPLIT|NOFRAME, $0-8
	ISB	$15
	MRS	CNTVCT_EL0, R0
	MOVD	R0, ret+0(FP)
	RET

// func setTimer(deadline uint64)
// Deadline in ticks of CNTVCT_EL0. The interrupt stays asserted until stopTimer.
TEXT ·setTimer(SB), NOSPLIT|NOFRAME, $0-8
	MOVD	deadline+0(FP), R0
	MSR	R0, CNTV_CVAL_EL0
	MOVD	$1, R1
	MSR	R1, CNTV_CTL_EL0
	ISB	$15
	RET

// func stopTimer()
TEXT ·stopTimer(SB), NOSPLIT|NOFRAME, $0-0
	MSR	ZR, CNTV_CTL_EL0
	ISB	$15
	RET

// func readIAR() uint64
// Acknowledges the highest pending interrupt. The barrier makes its effects visible before the
// handler reads memory the device wrote.
TEXT ·readIAR(SB), NOSPLIT|NOFRAME, $0-8
	MRS	ICC_IAR1_EL1, R0
	DSB	$15
	MOVD	R0, ret+0(FP)
	RET

// func writeEOIR(intid uint64)
TEXT ·writeEOIR(SB), NOSPLIT|NOFRAME, $0-8
	MOVD	intid+0(FP), R0
	MSR	R0, ICC_EOIR1_EL1
	ISB	$15
	RET

// func writeSGI1R(v uint64)
// Stores that the interrupted CPU must see come first.
TEXT ·writeSGI1R(SB), NOSPLIT|NOFRAME, $0-8
	MOVD	v+0(FP), R0
	DSB	$10
	MSR	R0, ICC_SGI1R_EL1
	ISB	$15
	RET

// func enableCPUInterface()
// GICv3 system registers: SRE, all priorities, no preemption groups, EOI also deactivates, group 1 on.
TEXT ·enableCPUInterface(SB), NOSPLIT|NOFRAME, $0-0
	MRS	ICC_SRE_EL1, R0
	ORR	$1, R0
	MSR	R0, ICC_SRE_EL1
	ISB	$15
	MOVD	$0xff, R0
	MSR	R0, ICC_PMR_EL1
	MSR	ZR, ICC_BPR1_EL1
	MSR	ZR, ICC_CTLR_EL1
	MOVD	$1, R0
	MSR	R0, ICC_IGRPEN1_EL1
	ISB	$15
	RET

// func affinity() uint64
// MPIDR_EL1.
TEXT ·affinity(SB), NOSPLIT|NOFRAME, $0-8
	MRS	MPIDR_EL1, R0
	MOVD	R0, ret+0(FP)
	RET

// func features() uint64
// ID_AA64MMFR1_EL1.
TEXT ·features(SB), NOSPLIT|NOFRAME, $0-8
	MRS	ID_AA64MMFR1_EL1, R0
	MOVD	R0, ret+0(FP)
	RET

// func instructionSet() (isar0, isar1, pfr0 uint64)
TEXT ·instructionSet(SB), NOSPLIT|NOFRAME, $0-24
	MRS	ID_AA64ISAR0_EL1, R0
	MOVD	R0, isar0+0(FP)
	MRS	ID_AA64ISAR1_EL1, R0
	MOVD	R0, isar1+8(FP)
	MRS	ID_AA64PFR0_EL1, R0
	MOVD	R0, pfr0+16(FP)
	RET

// func setPAN()
// PSTATE.PAN = 1: EL1 cannot touch what EL0 can.
TEXT ·setPAN(SB), NOSPLIT|NOFRAME, $0-0
	WORD	$0xd500419f // MSR PAN, #1
	RET

// func systemRegisters() (esr, far, sctlr uint64)
TEXT ·systemRegisters(SB), NOSPLIT|NOFRAME, $0-24
	MRS	ESR_EL1, R0
	MOVD	R0, esr+0(FP)
	MRS	FAR_EL1, R0
	MOVD	R0, far+8(FP)
	MRS	SCTLR_EL1, R0
	MOVD	R0, sctlr+16(FP)
	RET

// func signalReturn()
// Where a signal handler of the runtime returns: rt_sigreturn(2).
TEXT ·signalReturn(SB), NOSPLIT|NOFRAME, $0
	MOVD	$139, R8
	SVC
	UNDEF

// func signalReturnAddress() uint64
TEXT ·signalReturnAddress(SB), NOSPLIT|NOFRAME, $0-8
	MOVD	$·signalReturn(SB), R0
	MOVD	R0, ret+0(FP)
	RET

// func loadRoot(phys uint64)
// Writes TTBR0_EL1 and drops all translations of this CPU: the old root may be the boot tables, whose
// kernel half has other page sizes.
TEXT ·loadRoot(SB), NOSPLIT|NOFRAME, $0-8
	MOVD	phys+0(FP), R0
	DSB	$11
	MSR	R0, TTBR0_EL1
	ISB	$15
	TLBI	VMALLE1
	DSB	$7
	ISB	$15
	RET

// func switchRoot(phys uint64)
// Writes TTBR0_EL1 with ASID 0 and drops nothing.
TEXT ·switchRoot(SB), NOSPLIT|NOFRAME, $0-8
	MOVD	phys+0(FP), R0
	DMB	$11
	MSR	R0, TTBR0_EL1
	ISB	$15
	RET

// func wideASIDs()
// TCR_EL1.AS = 1: ASIDs have 16 bits.
TEXT ·wideASIDs(SB), NOSPLIT|NOFRAME, $0-0
	MRS	TCR_EL1, R0
	ORR	$(1<<36), R0
	MSR	R0, TCR_EL1
	ISB	$15
	RET

// func memoryFeatures() uint64
// ID_AA64MMFR0_EL1.
TEXT ·memoryFeatures(SB), NOSPLIT|NOFRAME, $0-8
	MRS	ID_AA64MMFR0_EL1, R0
	MOVD	R0, ret+0(FP)
	RET

// func readRoot() uint64
TEXT ·readRoot(SB), NOSPLIT|NOFRAME, $0-8
	MRS	TTBR0_EL1, R0
	MOVD	R0, ret+0(FP)
	RET

// func invalidatePages(first, n uint64)
// first = address >> 12. All ASIDs, all levels, all CPUs of the inner shareable domain; complete
// when it returns (Arm ARM D8.17).
TEXT ·invalidatePages(SB), NOSPLIT|NOFRAME, $0-16
	MOVD	first+0(FP), R0
	MOVD	n+8(FP), R1
	DSB	$10
loop:
	CBZ	R1, done
	TLBI	VAAE1IS, R0
	ADD	$1, R0
	SUB	$1, R1
	B	loop
done:
	DSB	$11
	ISB	$15
	RET

// func invalidateAll()
// Every translation on every CPU.
TEXT ·invalidateAll(SB), NOSPLIT|NOFRAME, $0-0
	DSB	$10
	TLBI	VMALLE1IS
	DSB	$11
	ISB	$15
	RET

// func syncTables()
// Makes stores to page tables visible to the walkers.
TEXT ·syncTables(SB), NOSPLIT|NOFRAME, $0-0
	DSB	$10
	ISB	$15
	RET

// func cleanLines(va, end, line uint64)
// Cleans the data cache to the point of unification, then drops all instruction caches: by
// address would miss the other aliases of a page.
TEXT ·cleanLines(SB), NOSPLIT|NOFRAME, $0-24
	MOVD	va+0(FP), R0
	MOVD	end+8(FP), R1
	MOVD	line+16(FP), R2
loop:
	CMP	R1, R0
	BHS	done
	DC	CVAU, R0
	ADD	R2, R0
	B	loop
done:
	DSB	$11
	WORD	$0xd508711f // IC IALLUIS
	DSB	$11
	ISB	$15
	RET

// func cacheType() uint64
// CTR_EL0.
TEXT ·cacheType(SB), NOSPLIT|NOFRAME, $0-8
	MRS	CTR_EL0, R0
	MOVD	R0, ret+0(FP)
	RET

// func hypercall(function uint64) uint64
// SMC calling convention over HVC: x0 = function and result, x1 to x17 may change.
TEXT ·hypercall(SB), NOSPLIT|NOFRAME, $0-16
	MOVD	function+0(FP), R0
	MOVD	ZR, R1
	MOVD	ZR, R2
	MOVD	ZR, R3
	HVC	$0
	MOVD	R0, ret+8(FP)
	RET

// func MMIORead32(va uint64) uint32
// One load that KVM can decode from the syndrome (no write-back, one register).
TEXT ·MMIORead32(SB), NOSPLIT|NOFRAME, $0-12
	MOVD	va+0(FP), R0
	MOVWU	(R0), R0
	DMB	$13 // LD: later reads of memory come after
	MOVW	R0, ret+8(FP)
	RET

// func MMIOWrite32(va uint64, v uint32)
TEXT ·MMIOWrite32(SB), NOSPLIT|NOFRAME, $0-12
	MOVD	va+0(FP), R0
	MOVWU	v+8(FP), R1
	DMB	$14 // ST: earlier stores to memory come before
	MOVW	R1, (R0)
	RET

// func mmioWrite64(va, v uint64)
TEXT ·mmioWrite64(SB), NOSPLIT|NOFRAME, $0-16
	MOVD	va+0(FP), R0
	MOVD	v+8(FP), R1
	MOVD	R1, (R0)
	RET

// func addresses() (runtime, clock uint64)
// Entry addresses of assembly functions: a Go func value would be the ABI wrapper's.
TEXT ·addresses(SB), NOSPLIT|NOFRAME, $0-16
	MOVD	$_rt0_arm64_linux(SB), R0
	MOVD	R0, runtime+0(FP)
	MOVD	$·clockGettime(SB), R0
	MOVD	R0, clock+8(FP)
	RET

// func clockGettime()
// The runtime's clock, called with the C convention on g0's stack: R0 = clock, R1 = timespec.
// May use R0 to R17. Nothing here traps.
// ns = (CNTVCT - base) * mult >> 32; CLOCK_REALTIME (0) adds the wall clock at base.
TEXT ·clockGettime(SB), NOSPLIT|NOFRAME, $0
	ISB	$15
	MRS	CNTVCT_EL0, R2
	MOVD	$·clock(SB), R3
	MOVD	clockState_base(R3), R4
	MOVD	clockState_mult(R3), R5
	SUB	R4, R2
	UMULH	R5, R2, R6
	MUL	R5, R2, R7
	EXTR	$32, R7, R6, R2 // R2 = R6:R7 >> 32
	CBNZ	R0, monotonic
	MOVD	clockState_wall(R3), R4
	ADD	R4, R2
monotonic:
	MOVD	$1000000000, R4
	UDIV	R4, R2, R5
	MSUB	R5, R2, R4, R6 // R6 = R2 - R5*R4
	STP	(R5, R6), (R1)
	MOVD	ZR, R0
	RET
