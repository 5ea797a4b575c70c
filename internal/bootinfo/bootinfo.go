// Package bootinfo is the layout of the one page through which the monitor tells the
// kernel what machine it runs on. Both sides of the VM boundary import it; nothing else
// describes this page.
//
// The monitor writes the page before the first vCPU runs. The kernel validates it once
// (Check) and afterwards only writes the Phases area. All addresses are guest-physical
// (GPA), all sizes bytes, all fields little-endian and naturally aligned, so that the
// Go struct is the wire layout on amd64 and arm64 (a test pins every offset).
package bootinfo

import (
	"errors"
	"fmt"
)

// Magic and Version open the page; a kernel refuses any other pair.
const (
	Magic   = 0x4f474e4952 // "RINGO"
	Version = 2
)

// Capacities of the fixed arrays.
const (
	PageSize  = 4096
	MaxRanges = 32
	MaxMMIO   = 16
	MaxPhases = 32
	// MaxCPUs is the largest number of vCPUs a machine may have.
	MaxCPUs = 64
	// MaxCommandLine is the largest command line, in bytes.
	MaxCommandLine = 4096
)

// RangeKind says what a range of guest-physical memory holds at entry.
type RangeKind uint32

// Kinds of Range.
const (
	RangeUsable RangeKind = 1 + iota // free for the kernel
	RangeBoot                        // boot info, command line, boot page tables: reclaimable once the kernel has left them
	RangeKernel                      // the kernel image, .bss included
	RangeInitrd                      // the initramfs archive: reclaimable once unpacked
	RangeWindow                      // trace or debug window
	RangeDevice                      // MMIO that the kernel must map as device memory
)

// Range is one run of guest-physical addresses, page aligned, ordered by Base and disjoint.
type Range struct {
	Base uint64
	Size uint64
	Kind RangeKind
	_    uint32
}

// MMIO is one virtio-mmio register window.
type MMIO struct {
	Base uint64
	Size uint64
	IRQ  uint32 // amd64: I/O APIC pin (GSI); arm64: GIC INTID (an SPI, 32 or more); edge triggered
	_    uint32
}

// Window is a region shared for debugging (DESIGN section 8). Size 0: absent.
type Window struct{ Base, Size uint64 }

// Phase numbers a boot phase. The kernel stamps the time-stamp counter (amd64 TSC,
// arm64 CNTVCT_EL0) when the phase has been reached.
type Phase int

// Phases in the order in which they are reached.
const (
	PhaseEntry       Phase = iota // first instruction of the kernel
	PhaseNucleus                  // nucleus up, Go runtime about to start
	PhaseMain                     // main.main of the kernel
	PhaseDevices                  // virtio devices answered
	PhaseRoot                     // root file system unpacked
	PhaseUser                     // first user instruction about to run
	PhaseProgramExit              // the program has ended
	NumPhases
)

var phaseNames = [NumPhases]string{"entry", "nucleus", "go runtime", "devices", "root file system", "first user instruction", "program exit"}

// String is the phase's name in reports.
func (p Phase) String() string {
	if p >= 0 && p < NumPhases {
		return phaseNames[p]
	}
	return fmt.Sprintf("phase %d", int(p))
}

// Info is the page.
type Info struct {
	Magic   uint64
	Version uint32
	Size    uint32 // bytes of this struct as the writer knew it

	CPUs      uint32 // number of vCPUs, 1..MaxCPUs
	NumRanges uint32
	NumMMIO   uint32
	_         uint32

	CommandLine     uint64 // GPA of the command line, not NUL terminated
	CommandLineSize uint64
	Initrd          uint64 // GPA of the initramfs; size 0: none
	InitrdSize      uint64

	CounterHz    uint64   // TSC or CNTVCT_EL0 ticks a second
	WallClock    int64    // ns since 1970 when the monitor started the vCPUs
	RandomSeed   [32]byte // from the host's getrandom
	KernelPhys   uint64   // GPA of the image's lowest PT_LOAD
	KernelSize   uint64   // bytes, .bss included, page aligned
	KernelVirt   uint64   // GVA at which KernelPhys is linked
	DirectMap    uint64   // GVA of GPA 0 in the direct map
	BootTables   uint64   // GPA of the root page table in force at entry
	UART         uint64   // amd64: I/O port of the 16550; arm64: GPA of the PL011
	PowerPort    uint64   // amd64: I/O port that takes a 32-bit power-off code; arm64: 0 (PSCI SYSTEM_OFF)
	IOAPIC       uint64   // amd64: GPA; arm64: 0
	GICD         uint64   // arm64: GPA of the distributor; amd64: 0
	GICR         uint64   // arm64: GPA of the first redistributor (128 KiB each); amd64: 0
	TimerIRQ     uint32   // arm64: INTID of the EL1 virtual timer; amd64: 0
	Flags        uint32   // FlagText
	Trace, Debug Window
	Doorbell     uint64 // amd64: I/O port, arm64: GPA, that takes 32-bit doorbell values (internal/debugwindow); 0: none

	Ranges [MaxRanges]Range
	MMIO   [MaxMMIO]MMIO

	// Phases is written by the kernel only: counter values, 0 for not reached.
	Phases [MaxPhases]uint64
}

// Power-off codes. amd64: written to PowerPort. arm64: PSCI SYSTEM_OFF has no argument, so
// a panicking kernel uses SYSTEM_RESET instead.
const (
	PowerOffNormal = 0
	PowerOffPanic  = 1
)

// ErrInvalid is wrapped by every error of Check.
var ErrInvalid = errors.New("boot info is not valid")

// Check validates what a reader relies on: magic, version, counts, order of ranges. It
// allocates only on failure.
func (i *Info) Check() error {
	switch {
	case i.Magic != Magic:
		return fmt.Errorf("%w: magic %#x, want %#x", ErrInvalid, i.Magic, uint64(Magic))
	case i.Version != Version:
		return fmt.Errorf("%w: version %d, want %d (monitor and kernel are of different builds)", ErrInvalid, i.Version, Version)
	case i.CPUs == 0 || i.CPUs > MaxCPUs:
		return fmt.Errorf("%w: %d vCPUs, want 1 to %d", ErrInvalid, i.CPUs, MaxCPUs)
	case i.NumRanges > MaxRanges:
		return fmt.Errorf("%w: %d memory ranges, at most %d", ErrInvalid, i.NumRanges, MaxRanges)
	case i.NumMMIO > MaxMMIO:
		return fmt.Errorf("%w: %d virtio-mmio windows, at most %d", ErrInvalid, i.NumMMIO, MaxMMIO)
	case i.CommandLineSize > MaxCommandLine:
		return fmt.Errorf("%w: command line of %d bytes, at most %d", ErrInvalid, i.CommandLineSize, MaxCommandLine)
	case i.CounterHz == 0:
		return fmt.Errorf("%w: counter frequency 0", ErrInvalid)
	}
	var end uint64
	for n, r := range i.Ranges[:i.NumRanges] {
		if r.Base%PageSize != 0 || r.Size%PageSize != 0 || r.Size == 0 || r.Base < end || r.Base+r.Size < r.Base {
			return fmt.Errorf("%w: range %d (%#x, %#x bytes) is unaligned, empty or overlaps", ErrInvalid, n, r.Base, r.Size)
		}
		end = r.Base + r.Size
	}
	return nil
}
