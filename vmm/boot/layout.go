// Package boot puts a kernel into guest memory: the ELF-PIE loader, the initramfs, the boot
// page tables and the boot-info page of docs/architecture.md. It works on any memory and
// for either architecture on any host, so all of it is tested without KVM.
package boot

import (
	"debug/elf"
	"fmt"

	amd64table "ringo/arch/amd64/pagetable"
	amd64 "ringo/arch/amd64/vcpu"
	arm64table "ringo/arch/arm64/pagetable"
	arm64 "ringo/arch/arm64/vcpu"
	"ringo/internal/bootinfo"
	"ringo/internal/pagetable"
	"ringo/virtio/queue"
)

// Offsets from the base of RAM.
const (
	infoOffset        = 0x10000
	commandLineOffset = 0x11000
	earlyOffset       = 0x12000
	tablesOffset      = 0x20000
	tablesEnd         = 0x100000
	kernelOffset      = 2 << 20
)

// Memory is guest RAM as the loader uses it; vmm/machine.Memory implements it.
type Memory interface {
	Check(gpa, size uint64) error
	WriteAt(gpa uint64, p []byte, src queue.Source) error
	// Zero clears RAM; pages that it covers wholly take no host memory afterwards.
	Zero(gpa, size uint64, src queue.Source) error
	// Slice is RAM to be filled by a read from a file.
	Slice(gpa, size uint64, write bool, src queue.Source) ([]byte, error)
}

// Layout is what one architecture fixes about the machine.
type Layout struct {
	Arch        string
	Machine     elf.Machine
	Relative    uint32 // relocation type
	RAMBase     uint64 // GPA
	UsableBase  uint64 // GPA of the first frame the kernel may hand out
	LowRAMEnd   uint64 // GPA: boot structures and the initramfs stay below
	DirectMap   uint64 // GVA of GPA 0
	KernelMap   uint64 // GVA of GPA 0 for the image
	KernelLimit uint64 // GPA that the image mapping reaches at most
	mapKernel   bool   // the image is not part of the direct map
	info        func(*bootinfo.Info)
	devices     func(cpus int) [][2]uint64
	hidden      [][2]uint64 // mapped like devices, not in the boot info
	early       func(gva uint64) []byte
	tables      func(mem pagetable.Memory, root uint64) mapper
}

// mapper is a page table of either format.
type mapper interface {
	MapRange(va, pa, size uint64, p pagetable.Prot, largest uint64) error
}

// Layouts by architecture name.
func LayoutOf(arch string) (*Layout, error) {
	switch arch {
	case amd64.Arch:
		return &Layout{
			Arch: amd64.Arch, Machine: amd64.ELFMachine, Relative: amd64.RelativeRelocation,
			RAMBase: amd64.RAMBase, UsableBase: amd64.UsableBase, LowRAMEnd: amd64.LowRAMEnd,
			DirectMap: amd64.DirectMap, KernelMap: amd64.KernelMap, KernelLimit: amd64.KernelMapSize, mapKernel: true,
			devices: amd64.DeviceRanges, hidden: amd64.HiddenPages(), early: amd64.EarlyVectors,
			info: func(i *bootinfo.Info) {
				i.UART, i.PowerPort, i.IOAPIC, i.Doorbell = amd64.UART, amd64.PowerPort, amd64.IOAPIC, amd64.Doorbell
				i.Flags = bootinfo.FlagText
			},
			tables: func(mem pagetable.Memory, root uint64) mapper {
				return &amd64table.Table{Root: root, Mem: mem}
			},
		}, nil
	case arm64.Arch:
		return &Layout{
			Arch: arm64.Arch, Machine: arm64.ELFMachine, Relative: arm64.RelativeRelocation,
			RAMBase: arm64.RAMBase, UsableBase: arm64.UsableBase, LowRAMEnd: arm64.LowRAMEnd,
			DirectMap: arm64.DirectMap, KernelMap: arm64.KernelMap, KernelLimit: arm64.LowRAMEnd,
			devices: arm64.DeviceRanges, hidden: arm64.HiddenPages(), early: arm64.EarlyVectors,
			info: func(i *bootinfo.Info) {
				i.UART, i.GICD, i.GICR, i.TimerIRQ, i.Doorbell = arm64.UART, arm64.GICD, arm64.GICR, arm64.TimerIRQ, arm64.Doorbell
				i.Flags = bootinfo.FlagText
			},
			tables: func(mem pagetable.Memory, root uint64) mapper {
				return &arm64table.Table{Root: root, Mem: mem}
			},
		}, nil
	}
	return nil, fmt.Errorf("architecture %q is not one of amd64, arm64", arch)
}

// loader labels what this package writes.
var loader = queue.NoQueue("loader")
