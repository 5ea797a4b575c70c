//go:build amd64

#include "go_asm.h"
#include "textflag.h"

// Single instructions for Go. All of them are leaves without a frame.

// func currentIndex() uint64
TEXT ·currentIndex(SB),NOSPLIT|NOFRAME,$0-8
	MOVQ cpu_index(GS), AX
	MOVQ AX, ret+0(FP)
	RET

// func currentCPU() *cpu
TEXT ·currentCPU(SB),NOSPLIT|NOFRAME,$0-8
	MOVQ cpu_self(GS), AX
	MOVQ AX, ret+0(FP)
	RET

// func setThread(c *Context)
TEXT ·setThread(SB),NOSPLIT|NOFRAME,$0-8
	MOVQ c+0(FP), AX
	MOVQ AX, cpu_thread(GS)
	RET

// func Thread() *Context
TEXT ·Thread(SB),NOSPLIT|NOFRAME,$0-8
	MOVQ cpu_thread(GS), AX
	MOVQ AX, ret+0(FP)
	RET

// func Scheduler() (gp, sched uintptr)
// In an ABI0 function that Go code calls, R14 is still the caller's g.
TEXT ·Scheduler(SB),NOSPLIT|NOFRAME,$0-16
	MOVQ R14, gp+0(FP)
	LEAQ runtime·sched(SB), AX
	MOVQ AX, sched+8(FP)
	RET

// func Pause()
TEXT ·Pause(SB),NOSPLIT|NOFRAME,$0-0
	PAUSE
	RET

// func Call(nr, a0, a1, a2, a3, a4, a5 uint64) uint64
// The registers of the Linux system call convention; SYSCALL destroys CX and R11.
TEXT ·Call(SB),NOSPLIT|NOFRAME,$0-64
	MOVQ nr+0(FP), AX
	MOVQ a0+8(FP), DI
	MOVQ a1+16(FP), SI
	MOVQ a2+24(FP), DX
	MOVQ a3+32(FP), R10
	MOVQ a4+40(FP), R8
	MOVQ a5+48(FP), R9
	SYSCALL
	MOVQ AX, ret+56(FP)
	RET

// func rdmsr(msr uint32) uint64
TEXT ·rdmsr(SB),NOSPLIT|NOFRAME,$0-16
	MOVL msr+0(FP), CX
	RDMSR
	SHLQ $32, DX
	ORQ DX, AX
	MOVQ AX, ret+8(FP)
	RET

// func wrmsr(msr uint32, value uint64)
TEXT ·wrmsr(SB),NOSPLIT|NOFRAME,$0-16
	MOVL msr+0(FP), CX
	MOVQ value+8(FP), AX
	MOVQ AX, DX
	SHRQ $32, DX
	WRMSR
	RET

// func cpuid(leaf, sub uint32) (a, b, c, d uint32)
TEXT ·cpuid(SB),NOSPLIT|NOFRAME,$0-24
	MOVL leaf+0(FP), AX
	MOVL sub+4(FP), CX
	CPUID
	MOVL AX, a+8(FP)
	MOVL BX, b+12(FP)
	MOVL CX, c+16(FP)
	MOVL DX, d+20(FP)
	RET

// func readCR0() uint64
TEXT ·readCR0(SB),NOSPLIT|NOFRAME,$0-8
	MOVQ CR0, AX
	MOVQ AX, ret+0(FP)
	RET

// func writeCR0(v uint64)
TEXT ·writeCR0(SB),NOSPLIT|NOFRAME,$0-8
	MOVQ v+0(FP), AX
	MOVQ AX, CR0
	RET

// func readCR2() uint64
TEXT ·readCR2(SB),NOSPLIT|NOFRAME,$0-8
	MOVQ CR2, AX
	MOVQ AX, ret+0(FP)
	RET

// func readCR3() uint64
TEXT ·readCR3(SB),NOSPLIT|NOFRAME,$0-8
	MOVQ CR3, AX
	MOVQ AX, ret+0(FP)
	RET

// func writeCR3(v uint64)
TEXT ·writeCR3(SB),NOSPLIT|NOFRAME,$0-8
	MOVQ v+0(FP), AX
	MOVQ AX, CR3
	RET

// func readCR4() uint64
TEXT ·readCR4(SB),NOSPLIT|NOFRAME,$0-8
	MOVQ CR4, AX
	MOVQ AX, ret+0(FP)
	RET

// func writeCR4(v uint64)
TEXT ·writeCR4(SB),NOSPLIT|NOFRAME,$0-8
	MOVQ v+0(FP), AX
	MOVQ AX, CR4
	RET

// func xsetbv(v uint64)
TEXT ·xsetbv(SB),NOSPLIT|NOFRAME,$0-8
	MOVQ v+0(FP), AX
	MOVQ AX, DX
	SHRQ $32, DX
	XORL CX, CX
	BYTE $0x0f; BYTE $0x01; BYTE $0xd1 // XSETBV
	RET

// func invlpg(va uint64)
TEXT ·invlpg(SB),NOSPLIT|NOFRAME,$0-8
	MOVQ va+0(FP), AX
	INVLPG (AX)
	RET

// func loadGDT(p *pseudoDescriptor)
// Loads the GDT, reloads SS, DS, ES with the kernel's data segment and CS by a far return.
// FS and GS selectors are cleared first, as loading them clears their bases, then restored.
TEXT ·loadGDT(SB),NOSPLIT|NOFRAME,$0-8
	MOVQ p+0(FP), AX
	LGDT (AX)
	MOVW $const_kernelDS, AX
	MOVW AX, SS
	MOVW AX, DS
	MOVW AX, ES
	POPQ AX // return address; RETFQ takes it back with CS
	PUSHQ $const_kernelCS
	PUSHQ AX
	BYTE $0x48; BYTE $0xcb // RETFQ

// func loadIDT(p *pseudoDescriptor)
TEXT ·loadIDT(SB),NOSPLIT|NOFRAME,$0-8
	MOVQ p+0(FP), AX
	LIDT (AX)
	RET

// func loadTR(selector uint64)
TEXT ·loadTR(SB),NOSPLIT|NOFRAME,$0-8
	MOVQ selector+0(FP), AX
	LTR AX
	RET

// func rdtsc() uint64
TEXT ·rdtsc(SB),NOSPLIT|NOFRAME,$0-8
	RDTSC
	SHLQ $32, DX
	ORQ DX, AX
	MOVQ AX, ret+0(FP)
	RET

// func outb(port uint16, v uint8)
TEXT ·outb(SB),NOSPLIT|NOFRAME,$0-3
	MOVW port+0(FP), DX
	MOVB v+2(FP), AX
	OUTB
	RET

// func inb(port uint16) uint8
TEXT ·inb(SB),NOSPLIT|NOFRAME,$0-9
	MOVW port+0(FP), DX
	INB
	MOVB AX, ret+8(FP)
	RET

// func outl(port uint16, v uint32)
TEXT ·outl(SB),NOSPLIT|NOFRAME,$0-8
	MOVW port+0(FP), DX
	MOVL v+4(FP), AX
	OUTL
	RET

// func halt()
TEXT ·halt(SB),NOSPLIT|NOFRAME,$0-0
	CLI
	HLT
	JMP -2(PC)

// func MMIORead32(va uint64) uint32
TEXT ·MMIORead32(SB),NOSPLIT|NOFRAME,$0-12
	MOVQ va+0(FP), AX
	MOVL (AX), AX
	MOVL AX, ret+8(FP)
	RET

// func MMIOWrite32(va uint64, v uint32)
TEXT ·MMIOWrite32(SB),NOSPLIT|NOFRAME,$0-12
	MOVQ va+0(FP), AX
	MOVL v+8(FP), CX
	MOVL CX, (AX)
	RET

// func addresses() (syscall, gates, runtime, clock, userReturn uint64)
// Entry addresses of assembly functions: a Go func value would be the ABI wrapper's.
TEXT ·addresses(SB),NOSPLIT|NOFRAME,$0-32
	LEAQ ·syscallEntry(SB), AX
	MOVQ AX, syscall+0(FP)
	LEAQ ·gates(SB), AX
	MOVQ AX, gates+8(FP)
	LEAQ _rt0_amd64_linux(SB), AX
	MOVQ AX, runtime+16(FP)
	LEAQ ·clockGettime(SB), AX
	MOVQ AX, clock+24(FP)
	RET

// func clockGettime()
// The runtime's clock, called with the C convention on g0's stack: DI = clock, SI = timespec.
// May use AX, CX, DX, DI, SI, R8-R11. Nothing here traps.
// ns = (tsc - base) * mult >> 32; CLOCK_REALTIME (0) adds the wall clock at base.
TEXT ·clockGettime(SB),NOSPLIT|NOFRAME,$0
	LFENCE
	RDTSC
	SHLQ $32, DX
	ORQ DX, AX
	SUBQ ·clock+clockState_base(SB), AX
	JCC 2(PC)
	XORL AX, AX // another CPU's counter, slightly behind
	MULQ ·clock+clockState_mult(SB)
	SHRQ $32, DX, AX // AX = DX:AX >> 32
	TESTL DI, DI
	JNE monotonic
	ADDQ ·clock+clockState_wall(SB), AX
monotonic:
	XORL DX, DX
	MOVQ $1000000000, CX
	DIVQ CX
	MOVQ AX, 0(SI)
	MOVQ DX, 8(SI)
	XORL AX, AX
	RET
