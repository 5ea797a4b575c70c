package vcpu

import "debug/elf"

// The machine as docs/architecture.md draws it. Addresses are GPAs unless said otherwise.
const (
	// Arch is the name in --arch and in build/.
	Arch = "amd64"
	// ELFMachine and RelativeRelocation are what a kernel image must carry.
	ELFMachine         = elf.EM_X86_64
	RelativeRelocation = uint32(elf.R_X86_64_RELATIVE)

	// RAM is at RAMBase; what does not fit below LowRAMEnd continues at HighRAMBase.
	RAMBase     = 0
	LowRAMEnd   = 3 << 30
	HighRAMBase = 4 << 30
	// UsableBase is the first address the boot info calls usable: page 0 stays out, so
	// that no frame has the number 0.
	UsableBase = 0x1000

	// DirectMap is the GVA of GPA 0, KernelMap the GVA of GPA 0 in the image mapping.
	DirectMap = 0xffff_8880_0000_0000
	KernelMap = 0xffff_ffff_8000_0000
	// KernelMapSize is what the image mapping can hold.
	KernelMapSize = 1 << 30

	// VirtioBase is virtio-mmio window 0; window i is i*VirtioStride further, with
	// interrupt VirtioIRQ+i (also the GSI of its irqfd).
	VirtioBase   = 0xd000_0000
	VirtioStride = 0x1000
	VirtioIRQ    = 5
	VirtioGSI    = 5
	// MaxVirtio is bounded by the 24 pins of the I/O APIC.
	MaxVirtio = 16

	// UART is the port of the 16550, UARTIsPort says that it is one.
	UART       = 0x3f8
	UARTSize   = 8
	UARTIsPort = true
	// PowerPort takes a 32-bit power-off code.
	PowerPort = 0x604
	// Doorbell is the port through which the kernel tells the debugger (internal/debugwindow): 32-bit writes.
	Doorbell       = 0x608
	DoorbellSize   = 8 // and the port that prints (bootinfo.FlagText)
	DoorbellIsPort = true

	IOAPIC     = 0xfec0_0000
	IOAPICSize = 0x1000
	GICD, GICR = 0, 0
	TimerIRQ   = 0
)

// HiddenPages are GPAs that the boot page tables map as device memory but the boot info
// does not list.
func HiddenPages() [][2]uint64 { return nil }

// DeviceRanges are the GPAs besides the virtio windows that hold registers.
func DeviceRanges(cpus int) [][2]uint64 {
	return [][2]uint64{{IOAPIC, IOAPICSize}}
}
