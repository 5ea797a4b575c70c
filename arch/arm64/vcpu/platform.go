package vcpu

import "debug/elf"

// The machine as docs/architecture.md draws it. Addresses are GPAs unless said otherwise.
const (
	// Arch is the name in --arch and in build/.
	Arch = "arm64"
	// ELFMachine and RelativeRelocation are what a kernel image must carry.
	ELFMachine         = elf.EM_AARCH64
	RelativeRelocation = uint32(elf.R_AARCH64_RELATIVE)

	// RAM is one run from RAMBase; LowRAMEnd and HighRAMBase are beyond any size.
	RAMBase     = 0x4000_0000
	LowRAMEnd   = 1 << 40
	HighRAMBase = 1 << 40
	// UsableBase is the first address the boot info calls usable.
	UsableBase = RAMBase

	// DirectMap is the GVA of GPA 0; the image is mapped by it too.
	DirectMap = 0x8000_0000_0000
	KernelMap = DirectMap
	// KernelMapSize is what the image mapping can hold.
	KernelMapSize = 1 << 40

	// VirtioBase is virtio-mmio window 0; window i is i*VirtioStride further, with INTID
	// VirtioIRQ+i. An irqfd counts shared interrupts only, so VirtioGSI is 32 less.
	VirtioBase   = 0x0a00_0000
	VirtioStride = 0x1000
	VirtioIRQ    = 48
	VirtioGSI    = 16
	MaxVirtio    = 16

	// UART is the GPA of the PL011.
	UART       = 0x0900_0000
	UARTSize   = 0x1000
	UARTIsPort = false
	// PowerPort is 0: power off is a PSCI call.
	PowerPort = 0
	// Doorbell is the GPA through which the kernel tells the debugger (internal/debugwindow): 32-bit stores.
	Doorbell       = 0x0901_0000
	DoorbellSize   = 0x1000
	DoorbellIsPort = false

	IOAPIC = 0
	// GICD and GICR are the GICv3's distributor and first redistributor.
	GICD     = 0x0800_0000
	GICDSize = 0x1_0000
	GICR     = 0x080a_0000
	// GICRSize is bytes of redistributor a vCPU.
	GICRSize = 0x2_0000
	// TimerIRQ is the INTID of the EL1 virtual timer.
	TimerIRQ = 27

	// interruptIDs is how many INTIDs the distributor has: private ones, and 64 shared.
	interruptIDs = 96
)

// HiddenPages are GPAs that the boot page tables map as device memory but the boot info
// does not list.
func HiddenPages() [][2]uint64 { return [][2]uint64{{EarlyPage, 0x1000}} }

// DeviceRanges are the GPAs besides the virtio windows that hold registers.
func DeviceRanges(cpus int) [][2]uint64 {
	return [][2]uint64{{GICD, GICDSize}, {GICR, GICRSize * uint64(cpus)}, {UART, UARTSize}, {Doorbell, DoorbellSize}}
}
