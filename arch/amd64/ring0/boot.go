//go:build amd64

package ring0

import (
	"unsafe"

	"ringo/internal/bootinfo"
)

// Selectors. SYSCALL loads kernelCS and kernelCS+8, SYSRET sysretBase+16 and +8 (AMD64 APM volume 2, 6.1.1).
const (
	kernelCS   = 0x08
	kernelDS   = 0x10
	sysretBase = 0x18
	userDS     = 0x20 | 3
	userCS     = 0x28 | 3
	selectorTR = 0x30
)

// Control register, MSR and flag bits (AMD64 APM volume 2, 3.1).
const (
	cr0AM         = 1 << 18
	cr4OSFXSR     = 1 << 9
	cr4OSXMMEXCPT = 1 << 10
	cr4UMIP       = 1 << 11
	cr4FSGSBASE   = 1 << 16
	cr4OSXSAVE    = 1 << 18
	cr4SMEP       = 1 << 20
	cr4SMAP       = 1 << 21
	cr4PGE        = 1 << 7
	cr4Boot       = cr4OSFXSR | cr4OSXMMEXCPT | cr4FSGSBASE | cr4OSXSAVE

	msrEFER   = 0xc000_0080
	msrSTAR   = 0xc000_0081
	msrLSTAR  = 0xc000_0082
	msrCSTAR  = 0xc000_0083
	msrFMASK  = 0xc000_0084
	msrTSCAux = 0xc000_0103
	eferSCE   = 1 << 0
	flagCF    = 1 << 0
	flagTF    = 1 << 8
	flagIF    = 1 << 9
	flagDF    = 1 << 10
	flagIOPL  = 3 << 12
	flagNT    = 1 << 14
	flagRF    = 1 << 16
	flagAC    = 1 << 18
	flagFixed = 1 << 1

	flagsKernel   = flagIF | flagFixed
	flagsUser     = flagIF | flagFixed
	flagsSyscall  = flagTF | flagIF | flagDF | flagIOPL | flagNT | flagAC // cleared by SYSCALL
	flagsUserMask = 0x250dd5                                              // CF PF AF ZF SF TF DF OF RF AC ID
	flagsNoSysret = flagTF | flagRF
	bootStackSize = 64 << 10
	// spillSpace is what a caller of Go code leaves free above the return address: register
	// arguments are spilled there (Go's internal ABI).
	spillSpace      = 64
	maxCPUs         = bootinfo.MaxCPUs
	pageSize        = 4096
	areaFatalPages  = 4
	areaStackPages  = 8
	areaFatalTop    = (1 + areaFatalPages) * pageSize
	areaIRQTop      = areaFatalTop + 2*pageSize
	areaExcTop      = areaIRQTop + 2*pageSize
	areaStackTop    = areaExcTop + pageSize + areaStackPages*pageSize
	areaStruct      = areaStackTop
	areaExcGuard    = areaExcTop / pageSize // guard page below the nucleus stack
	areaIRQGuard    = areaFatalTop / pageSize
	areaSecondGuard = areaIRQTop / pageSize
)

// AreaPages is the size of a CPU's area in pages: guard, fatal stack, guard, interrupt entry stack, guard,
// exception entry stack, guard, nucleus stack, the cpu struct.
const AreaPages = areaStruct/pageSize + 1

// AreaGuard says whether a page of an area stays unmapped: below every stack.
func AreaGuard(page int) bool {
	return page == 0 || page == areaIRQGuard || page == areaSecondGuard || page == areaExcGuard
}

var (
	bootCPU      cpu
	bootStack    [bootStackSize]byte
	entryCounter uint64 // TSC at the first instruction
	areas        [maxCPUs]uint64
	kernelRoot   uint64
	idt          [numVectors * 2]uint64
	mxcsr        uint32 = 0x1f80
)

// pseudoDescriptor is the operand of LGDT and LIDT: limit in the last two bytes of the first word.
type pseudoDescriptor struct {
	_     [6]byte
	limit uint16
	base  uint64
}

// The struct must fit the page that PublishArea reserves for it.
var _ [pageSize - unsafe.Sizeof(cpu{})]byte

// setup writes the parts of the area that the hardware reads, and the handlers' g.
func (c *cpu) setup(irqTop, excTop, fatalTop uint64) {
	c.fakeG[0] = c.stack + spillSpace - areaStackPages*pageSize // stack.lo
	c.fakeG[1] = c.stack                                        // stack.hi
	c.fakeG[2] = c.fakeG[0] + 928                               // stackguard0, as the runtime's stackGuard
	c.fakeG[3] = c.fakeG[2]

	c.gdt[1] = 0x00af_9b00_0000_ffff // kernel code, 64 bit
	c.gdt[2] = 0x00cf_9300_0000_ffff // kernel data
	c.gdt[3] = 0                     // SYSRET's base; 32-bit user code, which does not exist here
	c.gdt[4] = 0x00cf_f300_0000_ffff // user data
	c.gdt[5] = 0x00af_fb00_0000_ffff // user code, 64 bit
	tss := uint64(uintptr(unsafe.Pointer(&c.tss)))
	limit := uint64(unsafe.Sizeof(c.tss) - 1)
	c.gdt[6] = limit&0xffff | tss&0xffffff<<16 | 0x89<<40 | tss>>24&0xff<<56
	c.gdt[7] = tss >> 32

	c.setTSS(1, c.stack) // RSP0, never used: every gate has an IST
	c.setTSS(9, irqTop)  // IST1
	c.setTSS(11, excTop) // IST2
	c.setTSS(13, fatalTop)
	c.tss[25] = uint32(unsafe.Sizeof(c.tss)) << 16 // no I/O permission map
}

// setTSS writes a 64-bit field at 32-bit index i (the TSS is not aligned to 8).
func (c *cpu) setTSS(i int, v uint64) {
	c.tss[i] = uint32(v)
	c.tss[i+1] = uint32(v >> 32)
}

// load makes the CPU use this area's GDT and TSS and the IDT.
func (c *cpu) load() {
	c.gdt[6] &^= 2 << 40 // not busy
	d := pseudoDescriptor{limit: uint16(unsafe.Sizeof(c.gdt) - 1), base: uint64(uintptr(unsafe.Pointer(&c.gdt)))}
	loadGDT(unsafe.Pointer(&d.limit))
	loadTR(selectorTR)
	d = pseudoDescriptor{limit: uint16(unsafe.Sizeof(idt) - 1), base: uint64(uintptr(unsafe.Pointer(&idt)))}
	loadIDT(unsafe.Pointer(&d.limit))
}

// fillIDT points every gate at its stub in gates. Interrupt gates: IF is cleared on the way in.
func fillIDT() {
	_, gates, _, _ := addresses()
	for v := range uint64(numVectors) {
		const interruptGate = 0x8e
		attr, ist := uint64(interruptGate), uint64(2)
		switch {
		case v >= 32:
			ist = 1
		case v == 2 || v == 8 || v == 18: // NMI, double fault, machine check
			ist = 3
		case v == vectorBP || v == vectorOF: // INT3 and INTO are the user's to execute
			attr |= 3 << 5
		}
		a := gates + v*16
		idt[v*2] = a&0xffff | kernelCS<<16 | ist<<32 | attr<<40 | a>>16&0xffff<<48
		idt[v*2+1] = a >> 32
	}
}

// PublishArea gives CPU index its area, AreaPages mapped at va except the guards: the CPU leaves the boot
// tables and starts as soon as Boot has returned on CPU 0, or at once when it is another one.
// SetKernelRoot has been called.
func PublishArea(index int, va uint64) {
	c := (*cpu)(pointer(va + areaStruct))
	c.self = va + areaStruct
	c.index = uint64(index)
	c.stack = va + areaStackTop - spillSpace
	c.fatal = va + areaFatalTop - spillSpace
	c.g = c.self + uint64(unsafe.Offsetof(c.fakeG))
	c.tls = c.self + uint64(unsafe.Offsetof(c.g)) + 8
	c.setup(va+areaIRQTop, va+areaExcTop, va+areaFatalTop)
	publish(&areas[index], c.self)
}

// EntryCounter is Counter() at the kernel's first instruction.
func EntryCounter() uint64 { return entryCounter }

// HWCap is AT_HWCAP for the runtime; on amd64 it asks CPUID itself.
func HWCap() uint64 { return 0 }

// InitMachine prepares what all CPUs share. In Boot.
func InitMachine(info *bootinfo.Info) {
	initVectorSize()
	initClock(info.CounterHz, info.WallClock)
	initIOAPIC(info)
	powerPort, doorbellPort = uint16(info.PowerPort), uint16(info.Doorbell)
	initText(info)
}

// Features that enableFeatures found, for reports and for the trap code.
var hasSMAP, hasRDTSCP bool

// enableFeatures sets this CPU's control registers and MSRs.
func enableFeatures() {
	syscallPC, _, _, _ := addresses()
	_, b7, c7, _ := cpuid(7, 0)
	cr4 := readCR4() | cr4Boot | cr4PGE
	if b7&(1<<7) != 0 {
		cr4 |= cr4SMEP
	}
	if b7&(1<<20) != 0 {
		cr4 |= cr4SMAP
		hasSMAP = true
	}
	if c7&(1<<2) != 0 {
		cr4 |= cr4UMIP
	}
	writeCR4(cr4)
	writeCR0(readCR0() | cr0AM) // alignment checks for users that set AC, as on Linux
	xsetbv(xfeatureX87SSE)      // widened by enterUser
	wrmsr(msrSTAR, sysretBase<<48|kernelCS<<32)
	wrmsr(msrLSTAR, syscallPC)
	wrmsr(msrCSTAR, syscallPC)
	wrmsr(msrFMASK, flagsSyscall)
	wrmsr(msrEFER, rdmsr(msrEFER)|eferSCE)
	if _, _, _, d := cpuid(0x8000_0001, 0); d&(1<<27) != 0 {
		wrmsr(msrTSCAux, currentIndex()) // for the vDSO's getcpu
		hasRDTSCP = true
	}
}

func runtimeEntry() uint64 {
	_, _, pc, _ := addresses()
	return pc
}
