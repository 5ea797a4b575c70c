//go:build amd64

#include "go_asm.h"
#include "textflag.h"

// Everything in this file runs with interrupts masked. Register maps stand at each entry.
// Fields of the per-CPU area are addressed as cpu_field(GS).

// SAVE stores the general registers but BX, SP and what the hardware pushed into a Frame or
// Regs (same layout) at base.
#define SAVE(base) \
	MOVQ R15, Frame_R15(base) \
	MOVQ R14, Frame_R14(base) \
	MOVQ R13, Frame_R13(base) \
	MOVQ R12, Frame_R12(base) \
	MOVQ BP, Frame_BP(base) \
	MOVQ R11, Frame_R11(base) \
	MOVQ R10, Frame_R10(base) \
	MOVQ R9, Frame_R9(base) \
	MOVQ R8, Frame_R8(base) \
	MOVQ CX, Frame_CX(base) \
	MOVQ DX, Frame_DX(base) \
	MOVQ SI, Frame_SI(base) \
	MOVQ DI, Frame_DI(base)

// LOAD is its inverse.
#define LOAD(base) \
	MOVQ Frame_R15(base), R15 \
	MOVQ Frame_R14(base), R14 \
	MOVQ Frame_R13(base), R13 \
	MOVQ Frame_R12(base), R12 \
	MOVQ Frame_BP(base), BP \
	MOVQ Frame_R11(base), R11 \
	MOVQ Frame_R10(base), R10 \
	MOVQ Frame_R9(base), R9 \
	MOVQ Frame_R8(base), R8 \
	MOVQ Frame_CX(base), CX \
	MOVQ Frame_DX(base), DX \
	MOVQ Frame_SI(base), SI \
	MOVQ Frame_DI(base), DI

// NUCLEUS prepares for a Go handler: nucleus stack, the area's own TLS and g, X15 = 0. Destroys
// R11. SP is loaded from memory: the linker's nosplit budget starts afresh, as it should on another stack.
#define NUCLEUS \
	MOVQ $const_stateNucleus, R11 \
	MOVQ R11, cpu_state(GS) \
	MOVQ cpu_tls(GS), R11 \
	WRFSBASEQ R11 \
	MOVQ cpu_g(GS), R14 \
	XORPS X15, X15 \
	XORL BP, BP \
	MOVQ cpu_stack(GS), SP

// SAVEXMM stores what Go code changes of the user's vector state in the XSAVE area at base: X0 to X15 and MXCSR, and says in XSTATE_BV that they
// are there. The rest stays in the registers, see vector.go. LOADXMM is its inverse.
#define SAVEXMM(base) \
	STMXCSR (const_xsaveMXCSR)(base) \
	MOVUPS X0, (const_xsaveXMM+0x00)(base) \
	MOVUPS X1, (const_xsaveXMM+0x10)(base) \
	MOVUPS X2, (const_xsaveXMM+0x20)(base) \
	MOVUPS X3, (const_xsaveXMM+0x30)(base) \
	MOVUPS X4, (const_xsaveXMM+0x40)(base) \
	MOVUPS X5, (const_xsaveXMM+0x50)(base) \
	MOVUPS X6, (const_xsaveXMM+0x60)(base) \
	MOVUPS X7, (const_xsaveXMM+0x70)(base) \
	MOVUPS X8, (const_xsaveXMM+0x80)(base) \
	MOVUPS X9, (const_xsaveXMM+0x90)(base) \
	MOVUPS X10, (const_xsaveXMM+0xa0)(base) \
	MOVUPS X11, (const_xsaveXMM+0xb0)(base) \
	MOVUPS X12, (const_xsaveXMM+0xc0)(base) \
	MOVUPS X13, (const_xsaveXMM+0xd0)(base) \
	MOVUPS X14, (const_xsaveXMM+0xe0)(base) \
	MOVUPS X15, (const_xsaveXMM+0xf0)(base) \
	ORB $const_xfeatureSSE, (const_xsaveBV)(base)

// QEMU's TCG calls a function for each load of 16 bytes, 6 ns; two loads of 8 bytes are 1.5 ns.
#define LOADX(base, offset, x) \
	MOVLPS (const_xsaveXMM+offset)(base), x \
	MOVHPS (const_xsaveXMM+offset+8)(base), x

#define LOADXMM(base) \
	LDMXCSR (const_xsaveMXCSR)(base) \
	LOADX(base, 0x00, X0) \
	LOADX(base, 0x10, X1) \
	LOADX(base, 0x20, X2) \
	LOADX(base, 0x30, X3) \
	LOADX(base, 0x40, X4) \
	LOADX(base, 0x50, X5) \
	LOADX(base, 0x60, X6) \
	LOADX(base, 0x70, X7) \
	LOADX(base, 0x80, X8) \
	LOADX(base, 0x90, X9) \
	LOADX(base, 0xa0, X10) \
	LOADX(base, 0xb0, X11) \
	LOADX(base, 0xc0, X12) \
	LOADX(base, 0xd0, X13) \
	LOADX(base, 0xe0, X14) \
	LOADX(base, 0xf0, X15)

// SAVEREST stores the rest of the vector state of the context at c, which the caller has taken out of cpu_owner, and then lets others have it. XSAVE stores
// MXCSR too, which is the kernel's: the user's stands there already. Destroys AX, DX and R8.
#define SAVEREST(c) \
	MOVL (UserContext_vector+const_xsaveMXCSR)(c), R8 \
	MOVL ·xrest(SB), AX \
	XORL DX, DX \
	XSAVE64 UserContext_vector(c) \
	MOVL R8, (UserContext_vector+const_xsaveMXCSR)(c) \
	MOVL $0, UserContext_live(c)

// LEAVEUSER goes back to the stack of RunUser.
#define LEAVEUSER \
	MOVQ cpu_userSP(GS), SP \
	MOVQ cpu_userBP(GS), BP

// CALLGO calls the ABIInternal code of a func value at address fn (arguments in AX, BX, CX, DI).
#define CALLGO(fn) \
	MOVQ fn, DX \
	MOVQ (DX), R11 \
	CALL R11

// func entry()
// Entry of every vCPU, from the monitor. DI = boot info GPA, SI = CPU number; the boot page
// tables are in force, there is no stack.
TEXT ·entry(SB),NOSPLIT|NOFRAME|TOPFRAME,$0
	CLI
	CLD
	MOVQ DI, R12
	MOVQ SI, R13

	// The area of CPU 0 before there are page tables is in .bss. FS and GS bases are set
	// with their own instructions everywhere: without them nothing can run, so switch them on.
	MOVQ CR4, AX
	ORQ $const_cr4Boot, AX
	MOVQ AX, CR4
	TESTQ R13, R13
	JNZ wait
	RDTSC
	SHLQ $32, DX
	ORQ DX, AX
	MOVQ AX, ·entryCounter(SB)
	LEAQ ·bootCPU(SB), AX
	WRGSBASEQ AX
	LEAQ ·bootStack+(const_bootStackSize-const_spillSpace)(SB), SP
	ANDQ $~15, SP
	MOVQ AX, cpu_self(GS)
	MOVQ SP, cpu_stack(GS)
	LEAQ cpu_fakeG(AX), BX
	MOVQ BX, cpu_g(GS)
	LEAQ (cpu_g+8)(AX), BX
	MOVQ BX, cpu_tls(GS)
	MOVQ CR3, BX
	MOVQ BX, cpu_root(GS)
	NUCLEUS
	MOVQ R12, AX
	CALLGO(·onBoot(SB))
	XORL R13, R13 // this is CPU 0

	// Every CPU: wait until its area is published, then leave the boot tables.
wait:
	LEAQ ·areas(SB), AX
again:
	MOVQ (AX)(R13*8), BX
	TESTQ BX, BX
	JNZ go
	PAUSE
	JMP again
go:
	MOVQ ·kernelRoot(SB), AX
	MOVQ AX, CR3
	WRGSBASEQ BX
	MOVQ AX, cpu_root(GS)
	NUCLEUS
	MOVQ R13, AX
	CALLGO(·onStart(SB))
	JMP resume<>(SB)

// resume continues the thread set in the area. The handler has returned; nothing on the nucleus
// stack is needed any more.
TEXT resume<>(SB),NOSPLIT|NOFRAME|TOPFRAME,$0
	MOVQ cpu_thread(GS), BX
	MOVQ Context_TLS(BX), AX
	WRFSBASEQ AX
	MOVQ $const_stateThread, AX
	MOVQ AX, cpu_state(GS)
	CMPQ Context_Resume(BX), $const_resumeCall
	JNE trap
	// A call returns: RCX and R11 are dead, flags too. STI takes effect after the jump, so no
	// interrupt sees the thread half loaded.
	LOAD(BX)
	XORPS X15, X15
	MOVQ Frame_IP(BX), CX
	MOVQ Frame_SP(BX), SP
	MOVQ Frame_AX(BX), AX
	MOVQ Frame_BX(BX), BX
	STI
	JMP CX
trap:
	MOVQ Context_Vector(BX), R8
	MOVL $const_xfeatureSSE, AX // all that kernel Go code uses; the rest may be a user's
	XORL DX, DX
	XRSTOR64 (R8)
	LOAD(BX)
	MOVQ Frame_AX(BX), AX
	LEAQ Frame_IP(BX), SP
	MOVQ Frame_BX(BX), BX
	IRETQ

// syscallEntry is where SYSCALL jumps (LSTAR). CX = return address, R11 = flags, the caller's
// stack. Kernel addresses have bit 63 set: the caller is the Go runtime, or Call.
TEXT ·syscallEntry(SB),NOSPLIT|NOFRAME|TOPFRAME,$0
	BTQ $63, CX
	JCC user
	// From kernel Go code: vector registers are dead by Go's calling convention.
	MOVQ SP, cpu_scratch(GS)
	MOVQ cpu_thread(GS), SP
	SAVE(SP)
	MOVQ AX, Frame_AX(SP)
	MOVQ BX, Frame_BX(SP)
	MOVQ CX, Frame_IP(SP)
	MOVQ R11, Frame_Flags(SP)
	MOVQ $const_resumeCall, AX
	MOVQ AX, Context_Resume(SP)
	MOVQ cpu_scratch(GS), AX
	MOVQ AX, Frame_SP(SP)
	MOVQ SP, AX
	NUCLEUS
	CALLGO(ringo∕guestkernel∕nucleus·handlers+Handlers_Syscall(SB))
	JMP resume<>(SB)
user:
	SWAPGS
	MOVQ SP, cpu_scratch(GS)
	MOVQ cpu_user(GS), SP // the UserContext, no stack

	// Who am I? Answered here, with no register but AX touched. As in Linux, the number is the low half. CX is a user address: no program is mapped
	// at the end of user space, behind which SYSRET would fault.
	CMPL UserContext_identified(SP), $0
	JEQ slow
	TESTL $const_flagsNoSysret, R11
	JNE slow
	CMPL AX, $39
	JEQ pid
	CMPL AX, $186
	JEQ tid
	CMPL AX, $102
	JEQ uid
	CMPL AX, $107
	JEQ euid
	CMPL AX, $104
	JEQ gid
	CMPL AX, $108
	JNE slow
	MOVL (UserContext_identity+Identity_EGID)(SP), AX
	JMP answer
pid:
	MOVL (UserContext_identity+Identity_PID)(SP), AX
	JMP answer
tid:
	MOVL (UserContext_identity+Identity_TID)(SP), AX
	JMP answer
uid:
	MOVL (UserContext_identity+Identity_UID)(SP), AX
	JMP answer
euid:
	MOVL (UserContext_identity+Identity_EUID)(SP), AX
	JMP answer
gid:
	MOVL (UserContext_identity+Identity_GID)(SP), AX
answer:
	MOVQ cpu_scratch(GS), SP
	SWAPGS
	BYTE $0x48; BYTE $0x0f; BYTE $0x07 // SYSRETQ
slow:
	SAVE(SP)
	MOVQ BX, Frame_BX(SP)
	MOVQ AX, Frame_AX(SP)
	MOVQ AX, Regs_OrigAX(SP)
	MOVQ CX, Frame_IP(SP)
	MOVQ R11, Frame_Flags(SP)
	MOVQ cpu_scratch(GS), AX
	MOVQ AX, Frame_SP(SP)
	MOVQ SP, BX
	MOVQ $const_vectorSyscall, R12
	JMP leftUser<>(SB)

// leftUser continues after the user's general registers have been saved.
// BX = UserContext, R12 = vector or vectorSyscall, R13 = error code. GS is the kernel's. No stack.
TEXT leftUser<>(SB),NOSPLIT|NOFRAME|TOPFRAME,$0
	// The user may have changed its bases with WRFSBASE and WRGSBASE.
	SWAPGS
	RDGSBASEQ AX
	SWAPGS
	MOVQ AX, Regs_GSBase(BX)
	RDFSBASEQ AX
	MOVQ AX, Regs_FSBase(BX)

	// What Go code will change of the vector state, then the control word that it expects. It never uses the x87.
	LEAQ UserContext_vector(BX), AX
	SAVEXMM(AX)
	LDMXCSR ·mxcsr(SB)

	MOVL $0, UserContext_cpu(BX)
	MOVL R12, (UserContext_event+Event_Vector)(BX)
	CMPQ R12, $const_vectorSyscall
	JEQ called
	MOVQ CR2, CX
	MOVQ R13, (UserContext_event+Event_Code)(BX)
	MOVQ CX, (UserContext_event+Event_Addr)(BX)
called:
	MOVQ $0, cpu_user(GS)

	// Go's own TLS, g and X15.
	MOVQ cpu_thread(GS), BX
	MOVQ Context_TLS(BX), AX
	WRFSBASEQ AX
	MOVQ -8(FS), R14
	XORPS X15, X15
	CMPQ R12, $32
	JCS direct
	CMPQ R12, $const_vectorSyscall
	JNE interrupt
direct:
	// A system call or an exception: RunUser returns, the nucleus is not involved.
	LEAVEUSER
	STI
	RET
interrupt:
	// The thread will resume at the return of RunUser, whenever it is scheduled.
	LEAQ ·userReturn(SB), AX
	MOVQ AX, Frame_IP(BX)
	MOVQ cpu_userSP(GS), AX
	MOVQ AX, Frame_SP(BX)
	MOVQ cpu_userBP(GS), AX
	MOVQ AX, Frame_BP(BX)
	MOVQ R14, Frame_R14(BX)
	MOVQ $const_resumeCall, AX
	MOVQ AX, Context_Resume(BX)
	MOVQ BX, AX
	MOVQ R12, BX
	XORL CX, CX
	XORL DI, DI
	NUCLEUS
	CALLGO(·onTrap(SB))
	JMP resume<>(SB)

// func userReturn()
// Where a thread interrupted in user mode resumes: it returns from enterUser.
TEXT ·userReturn(SB),NOSPLIT|NOFRAME,$0
	RET

// func enterUser(c *UserContext)
// Enters user mode with c; returns when user mode has trapped, see leftUser. BX = c.
TEXT ·enterUser(SB),NOSPLIT|NOFRAME,$0-8
	MOVQ c+0(FP), BX
	CLI
	MOVQ SP, cpu_userSP(GS)
	MOVQ BP, cpu_userBP(GS)

	// Say where we are, then look for a kick: Interrupt does it in the opposite order.
	MOVQ cpu_index(GS), AX
	MOVQ UserContext_allowed(BX), CX
	BTQ AX, CX
	JCC elsewhere
	MOVL AX, UserContext_last(BX)
	INCL AX
	MOVL UserContext_live(BX), CX
	TESTL CX, CX
	JEQ complete
	CMPL CX, AX
	JNE away
complete:
	XCHGL AX, UserContext_cpu(BX)
	CMPL UserContext_kick(BX), $0
	JNE kicked

	// Whatever the owner stored: user selectors, user flags, a user address.
	MOVQ $const_userCS, AX
	MOVQ AX, Regs_CS(BX)
	MOVQ $const_userDS, AX
	MOVQ AX, Regs_SS(BX)
	MOVQ Regs_Flags(BX), AX
	ANDQ $const_flagsUserMask, AX
	ORQ $const_flagsUser, AX
	MOVQ AX, Regs_Flags(BX)
	MOVQ Regs_IP(BX), CX
	SHRQ $47, CX
	JNZ badIP

	MOVQ UserContext_root(BX), AX
	CMPQ AX, cpu_root(GS)
	JEQ loaded
	MOVQ AX, cpu_root(GS) // before CR3: a shootdown reads it, see RootOf
	MOVQ AX, CR3
loaded:
	MOVQ BX, cpu_user(GS)
	LEAQ UserContext_vector(BX), AX
	CMPQ BX, cpu_owner(GS)
	JNE restore
	LOADXMM(AX)
vectors:
	MOVQ Regs_FSBase(BX), AX
	SHLQ $16, AX // canonical, whatever the owner stored: a fault must not come here
	SARQ $16, AX
	WRFSBASEQ AX
	MOVQ Regs_GSBase(BX), AX
	SHLQ $16, AX
	SARQ $16, AX
	SWAPGS // from here the user's GS; an NMI looks at the base itself
	WRGSBASEQ AX
	LOAD(BX)

	// SYSRET loads IP from CX and flags from R11: right after a system call unless somebody
	// changed them; not with RF or TF, which it mishandles.
	MOVQ Regs_Flags(BX), AX
	CMPQ R11, AX
	JNE iret
	CMPQ CX, Regs_IP(BX)
	JNE iret
	TESTL $const_flagsNoSysret, AX
	JNE iret
	MOVQ Regs_AX(BX), AX
	MOVQ Regs_SP(BX), SP
	MOVQ Regs_BX(BX), BX
	BYTE $0x48; BYTE $0x0f; BYTE $0x07 // SYSRETQ
iret:
	MOVQ Regs_AX(BX), AX
	LEAQ Regs_IP(BX), SP
	MOVQ Regs_BX(BX), BX
	IRETQ
restore:
	// Not in the registers: make room for it. R9 = whose state is there.
	XORL R9, R9
	XCHGQ R9, cpu_owner(GS)
	TESTQ R9, R9
	JEQ free
	SAVEREST(R9)
free:
	// At this CPU's first entry: the user's features. Until then the Go runtime must not see that they can be enabled.
	CMPQ cpu_enabled(GS), $0
	JNE enabled
	XORL CX, CX
	MOVL ·xcr0(SB), AX
	MOVL ·xcr0+4(SB), DX
	BYTE $0x0f; BYTE $0x01; BYTE $0xd1 // XSETBV
	MOVQ $1, cpu_enabled(GS)
enabled:
	MOVL $-1, AX
	MOVL $-1, DX
	XRSTOR64 UserContext_vector(BX)
	MOVQ cpu_index(GS), AX
	INCL AX
	MOVL AX, UserContext_live(BX)
	MOVQ BX, cpu_owner(GS)
	JMP vectors
away:
	// Another CPU has some of its vector state: see nucleus.RunUser.
	MOVL $const_vectorAway, (UserContext_event+Event_Vector)(BX)
	STI
	RET
elsewhere:
	// Not on this CPU. A kick is left to the next entry, or to the caller's look at what is pending.
	MOVL $const_vectorElsewhere, (UserContext_event+Event_Vector)(BX)
	STI
	RET
kicked:
	MOVL $0, UserContext_kick(BX)
	MOVL $0, UserContext_cpu(BX)
	MOVL $const_vectorIPI, (UserContext_event+Event_Vector)(BX)
	STI
	RET
badIP:
	// The fault that the first instruction fetch would have been.
	MOVL $0, UserContext_cpu(BX)
	MOVL $const_vectorGP, (UserContext_event+Event_Vector)(BX)
	MOVQ $0, (UserContext_event+Event_Code)(BX)
	STI
	RET

// func saveRest(c *UserContext) (saved bool)
// Completes the vector state in memory if this CPU has the rest of it. BX = c.
TEXT ·saveRest(SB),NOSPLIT|NOFRAME,$0-9
	MOVQ c+0(FP), BX
	PUSHFQ
	POPQ CX
	CLI
	CMPQ BX, cpu_owner(GS)
	JNE done
	MOVQ $0, cpu_owner(GS)
	SAVEREST(BX)
done:
	PUSHQ CX
	POPFQ
	CMPL UserContext_live(BX), $0
	SETEQ saved+8(FP)
	RET

// trap is the common part of all interrupt gates, on an IST stack:
// 0(SP) vector, 8 error code, 16 IP, 24 CS, 32 flags, 40 SP, 48 SS.
TEXT trap<>(SB),NOSPLIT|NOFRAME|TOPFRAME,$0
	TESTB $3, 24(SP)
	JNZ user
	CMPQ cpu_state(GS), $const_stateThread
	JNE nucleus
	// Kernel Go code of a thread: save everything in its Context.
	MOVQ BX, cpu_scratch(GS)
	MOVQ cpu_thread(GS), BX
	SAVE(BX)
	MOVQ AX, Frame_AX(BX)
	MOVQ cpu_scratch(GS), AX
	MOVQ AX, Frame_BX(BX)
	MOVQ 16(SP), AX
	MOVQ AX, Frame_IP(BX)
	MOVQ 24(SP), AX
	MOVQ AX, Frame_CS(BX)
	MOVQ 32(SP), AX
	MOVQ AX, Frame_Flags(BX)
	MOVQ 40(SP), AX
	MOVQ AX, Frame_SP(BX)
	MOVQ 48(SP), AX
	MOVQ AX, Frame_SS(BX)
	MOVQ $const_resumeTrap, AX
	MOVQ AX, Context_Resume(BX)
	MOVQ 0(SP), R12
	MOVQ 8(SP), CX
	MOVQ CR2, DI
	MOVQ Context_Vector(BX), R8
	MOVL $const_xfeatureSSE, AX
	XORL DX, DX
	XSAVE64 (R8)
	CLD // Go code moves memory backwards with DF set
	MOVQ BX, AX
	MOVQ R12, BX
	NUCLEUS
	CALLGO(·onTrap(SB))
	JMP resume<>(SB)

nucleus:
	CMPQ 0(SP), $32
	JCS fatal
	CMPQ cpu_state(GS), $const_stateIdle
	JNE fatal
	// The end of Idle: its registers are dead, return from it on its stack.
	MOVQ 0(SP), AX
	MOVQ $const_stateNucleus, BX
	MOVQ BX, cpu_state(GS)
	MOVQ cpu_idleSP(GS), SP
	MOVQ AX, 8(SP) // result of idle()
	RET
fatal:
	JMP fatal<>(SB)

user:
	SWAPGS
	MOVQ BX, cpu_scratch(GS)
	MOVQ cpu_user(GS), BX
	SAVE(BX)
	MOVQ AX, Frame_AX(BX)
	MOVQ cpu_scratch(GS), AX
	MOVQ AX, Frame_BX(BX)
	MOVQ 16(SP), AX
	MOVQ AX, Frame_IP(BX)
	MOVQ 32(SP), AX
	MOVQ AX, Frame_Flags(BX)
	MOVQ 40(SP), AX
	MOVQ AX, Frame_SP(BX)
	MOVQ $-1, AX
	MOVQ AX, Regs_OrigAX(BX)
	MOVQ 0(SP), R12
	MOVQ 8(SP), R13
	// A gate leaves the user's DF, AC and NT in force.
	PUSHQ $2
	POPFQ
	JMP leftUser<>(SB)

// paranoid is the gate of #DF, NMI and #MC, which may come between SWAPGS and its pair: the
// GS base itself says whose it is. Never returns. Same stack as trap.
TEXT paranoid<>(SB),NOSPLIT|NOFRAME|TOPFRAME,$0
	PUSHQ AX
	RDGSBASEQ AX
	BTQ $63, AX
	POPQ AX
	JCS 2(PC)
	SWAPGS
	JMP fatal<>(SB)

// fatal collects the registers in the area and calls Handlers.Fatal on the fatal stack.
TEXT fatal<>(SB),NOSPLIT|NOFRAME|TOPFRAME,$0
	MOVQ BX, cpu_scratch(GS)
	MOVQ cpu_self(GS), BX
	LEAQ cpu_frame(BX), BX
	SAVE(BX)
	MOVQ AX, Frame_AX(BX)
	MOVQ cpu_scratch(GS), AX
	MOVQ AX, Frame_BX(BX)
	MOVQ 16(SP), AX
	MOVQ AX, Frame_IP(BX)
	MOVQ 24(SP), AX
	MOVQ AX, Frame_CS(BX)
	MOVQ 32(SP), AX
	MOVQ AX, Frame_Flags(BX)
	MOVQ 40(SP), AX
	MOVQ AX, Frame_SP(BX)
	MOVQ 48(SP), AX
	MOVQ AX, Frame_SS(BX)
	CLD
	MOVQ CR2, DI
	MOVQ 8(SP), CX
	MOVQ 0(SP), R12
	MOVQ BX, AX
	MOVQ R12, BX
	NUCLEUS
	MOVQ cpu_fatal(GS), SP
	MOVQ $0, 16(R14) // stackguard0: any stack will do now
	CALLGO(·onFatal(SB))
	CLI
	HLT
	JMP -2(PC)

// func idle() (vector uint64)
// Halts with interrupts enabled. The interrupt's gate returns from here, see trap.
TEXT ·idle(SB),NOSPLIT|NOFRAME,$0-8
	MOVQ SP, cpu_idleSP(GS)
	MOVQ $const_stateIdle, AX
	MOVQ AX, cpu_state(GS)
	STI // from the next instruction on: an interrupt cannot slip in before HLT
	HLT
	JMP -1(PC)

// One gate per vector, 16 bytes apart: with an error code on the stack in any case.
// PUSH8 is PUSH imm8 as bytes: to the linker, which counts pushes, the gates are one function.
#define PUSH8(n) BYTE $0x6a; BYTE $(n)
#define GATE(n) \
	PUSH8(0) \
	PUSH8(n) \
	JMP trap<>(SB) \
	PCALIGN $16
#define GATEERR(n) \
	PUSH8(n) \
	JMP trap<>(SB) \
	PCALIGN $16
#define GATEPARANOID(n) \
	PUSH8(0) \
	PUSH8(n) \
	JMP paranoid<>(SB) \
	PCALIGN $16
#define GATEDF(n) \
	PUSH8(n) \
	JMP paranoid<>(SB) \
	PCALIGN $16
#define GATE8(n) \
	GATE(n) GATE(n+1) GATE(n+2) GATE(n+3) GATE(n+4) GATE(n+5) GATE(n+6) GATE(n+7)

// func gates()
TEXT ·gates(SB),NOSPLIT|NOFRAME|TOPFRAME,$0
	GATE(0)
	GATE(1)
	GATEPARANOID(2)
	GATE(3)
	GATE(4)
	GATE(5)
	GATE(6)
	GATE(7)
	GATEDF(8)
	GATE(9)
	GATEERR(10)
	GATEERR(11)
	GATEERR(12)
	GATEERR(13)
	GATEERR(14)
	GATE(15)
	GATE(16)
	GATEERR(17)
	GATEPARANOID(18)
	GATE(19)
	GATE(20)
	GATEERR(21)
	GATE(22)
	GATE(23)
	GATE(24)
	GATE(25)
	GATE(26)
	GATE(27)
	GATE(28)
	GATEERR(29)
	GATEERR(30)
	GATE(31)
	GATE8(32)
	GATE8(40)
	GATE8(48)
	GATE8(56)
	GATE8(64)
	GATE8(72)
	GATE8(80)
	GATE8(88)
	UNDEF
