//go:build arm64

package ring0

import (
	"sync/atomic"
	"unsafe"

	"ringo/internal/bootinfo"
)

const (
	maxCPUs  = bootinfo.MaxCPUs
	pageSize = 4096

	areaFatalPages = 4
	areaStackPages = 8
	areaFatalTop   = (1 + areaFatalPages) * pageSize
	areaStackTop   = areaFatalTop + pageSize + areaStackPages*pageSize
	areaStruct     = areaStackTop
	areaGuard      = areaFatalTop / pageSize // guard page below the nucleus stack

	stackGuard = 928 // the runtime's: what a function may use below the limit it checks
)

// AreaPages is the size of a CPU's area in pages: guard, fatal stack, guard, nucleus stack, the cpu struct.
const AreaPages = areaStruct/pageSize + 1

// AreaGuard says whether a page of an area stays unmapped: below every stack.
func AreaGuard(page int) bool { return page == 0 || page == areaGuard }

var (
	bootCPU      cpu
	entryCounter uint64 // CNTVCT_EL0 at the first instruction
	areas        [maxCPUs]uint64
	kernelRoot   uint64
)

// The struct must fit the page that PublishArea reserves for it.
var _ [pageSize - unsafe.Sizeof(cpu{})]byte

// PublishArea gives CPU index its area, AreaPages mapped at va except the guards: the CPU leaves the boot
// tables and starts as soon as Boot has returned on CPU 0, or at once when it is another one.
// SetKernelRoot has been called.
func PublishArea(index int, va uint64) {
	c := (*cpu)(pointer(va + areaStruct))
	c.index = uint64(index)
	c.stack = va + areaStackTop
	c.fatal = va + areaFatalTop
	c.root = kernelRoot
	setBounds(&c.fakeG, c.stack-areaStackPages*pageSize, c.stack)
	setBounds(&c.fatalG, c.fatal-areaFatalPages*pageSize, c.fatal)
	atomic.StoreUint64(&areas[index], va+areaStruct)
	sendEvent()
}

func setBounds(g *[64]uint64, lo, hi uint64) {
	g[0], g[1] = lo, hi
	g[2] = lo + stackGuard
	g[3] = g[2]
}

// EntryCounter is Counter() at the kernel's first instruction.
func EntryCounter() uint64 { return entryCounter }

// InitMachine prepares what all CPUs share. In Boot.
func InitMachine(info *bootinfo.Info) {
	uart = info.DirectMap + info.UART
	if info.Doorbell != 0 {
		doorbell = info.DirectMap + info.Doorbell
	}
	initText(info)
	initClock(info.CounterHz, info.WallClock)
	initGIC(info)
	initCaches()
	initFeatures()
	initASIDs()
}

// initFeatures finds out what kernel Go code runs with.
func initFeatures() {
	if features()>>20&0xf != 0 { // ID_AA64MMFR1_EL1.PAN
		pstateKernel |= pstatePAN
	}
}

// enableFeatures finishes this CPU's state: entry.s has done what the first Go instruction needs.
func enableFeatures() {
	if pstateKernel&pstatePAN != 0 {
		setPAN()
	}
	if asidLimit > 1<<8 {
		wideASIDs()
	}
}

// HWCap is AT_HWCAP: what of the instruction set programs may use, kernel and user alike.
// (linux/arch/arm64/include/uapi/asm/hwcap.h). HWCAP_CPUID is not offered: EL0 reads of ID registers are
// undefined here. SVE and pointer authentication stay off.
func HWCap() uint64 {
	const fp, asimd = 1 << 0, 1 << 1
	caps := uint64(fp | asimd)
	isar0, isar1, pfr0 := instructionSet()
	for _, f := range hwcaps {
		reg := isar0
		switch f.register {
		case 1:
			reg = isar1
		case 2:
			reg = pfr0
		}
		if v := reg >> f.shift & 0xf; v >= f.min && (f.register != 2 || v != 0xf) {
			caps |= 1 << f.bit
		}
	}
	return caps
}

// hwcaps says which field of ID_AA64ISAR0_EL1 (0), ID_AA64ISAR1_EL1 (1) or ID_AA64PFR0_EL1 (2)
// makes which HWCAP bit.
var hwcaps = [...]struct{ register, shift, min, bit uint64 }{
	{0, 4, 1, 3},   // AES
	{0, 4, 2, 4},   // PMULL
	{0, 8, 1, 5},   // SHA1
	{0, 12, 1, 6},  // SHA2
	{0, 12, 2, 21}, // SHA512
	{0, 16, 1, 7},  // CRC32
	{0, 20, 2, 8},  // ATOMICS
	{2, 16, 1, 9},  // FPHP
	{2, 20, 1, 10}, // ASIMDHP
	{0, 28, 1, 12}, // ASIMDRDM
	{1, 12, 1, 13}, // JSCVT
	{1, 16, 1, 14}, // FCMA
	{1, 20, 1, 15}, // LRCPC
	{1, 0, 1, 16},  // DCPOP
	{0, 32, 1, 17}, // SHA3
	{0, 36, 1, 18}, // SM3
	{0, 40, 1, 19}, // SM4
	{0, 44, 1, 20}, // ASIMDDP
	{0, 48, 1, 23}, // ASIMDFHM
	{2, 48, 1, 24}, // DIT
	{1, 20, 2, 26}, // ILRCPC
	{0, 52, 1, 27}, // FLAGM
	{1, 36, 1, 29}, // SB
}

func runtimeEntry() uint64 {
	pc, _ := addresses()
	return pc
}

// InitRuntime prepares thread 0: it will enter the Go runtime's own entry point with the
// argument block (argc, argv, envp, auxv) at sp.
func (c *Context) InitRuntime(sp uint64) {
	c.Frame = Frame{ELR: runtimeEntry(), SP: sp, SPSR: pstateKernel}
	c.Resume = resumeCall
}
