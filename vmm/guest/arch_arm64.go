package guest

import (
	"debug/elf"

	"ringo/arch/arm64/abi"
	"ringo/arch/arm64/disasm"
	"ringo/arch/arm64/gdbregs"
	"ringo/arch/arm64/vcpu"
	"ringo/vmm/machine"
	"ringo/vmm/serial"
)

// hostArch is the architecture of this host and its guests.
const hostArch = vcpu.Arch

// addUART puts the early console where the kernel expects it.
func addUART(m *machine.Machine, out *serial.Lines) error {
	return m.AddMMIO("PL011", vcpu.UART, vcpu.UARTSize, serial.NewPL011(out))
}

// addDoorbell puts the doorbell where the boot info says.
func addDoorbell(m *machine.Machine, d *Doorbell) error {
	return m.AddMMIO("doorbell", vcpu.Doorbell, vcpu.DoorbellSize, d)
}

// What reports need to know about the guest's instructions.
const callLength = disasm.CallLength

var (
	disassemble = disasm.Decode
	callTarget  = disasm.CallTarget
)

// kernelRoot is the variable that holds the GPA of the kernel's root page table.
const kernelRoot = "ringo/arch/arm64/ring0.kernelRoot"

// describeArea is nil: KVM on arm64 resets no vCPU by itself, registers are never lost.
var describeArea func(cpu int, resolve func(name string) (uint64, error), word func(gva uint64) (uint64, bool), name func(gva uint64) string) []string

// syscallNumbers are the system calls by name.
var syscallNumbers = abi.SyscallNumbers

// savedPC is the offset of the return address in the frame of a context switch: arch/arm64/fixedstack, Yield.
const savedPC = 88

// For debuggers.
type (
	registerState = gdbregs.State
)

const (
	elfMachine    = elf.EM_AARCH64
	watchesBehind = vcpu.WatchesBehind
	alarm         = vcpu.Alarm
	regPC         = gdbregs.PC
	regSP         = gdbregs.SP
	regFP         = gdbregs.FP
	// kernelHalf and kernelLast are the first and last GVA of the kernel's half.
	kernelHalf = 0x8000_0000_0000
	kernelLast = 0xffff_ffff_ffff
)

var (
	registerTable    = gdbregs.Description
	partialRegisters = gdbregs.Partial
)
