package guest

import (
	"debug/elf"

	"ringo/arch/amd64/abi"
	"ringo/arch/amd64/area"
	"ringo/arch/amd64/disasm"
	"ringo/arch/amd64/gdbregs"
	"ringo/arch/amd64/vcpu"
	"ringo/vmm/machine"
	"ringo/vmm/serial"
)

// hostArch is the architecture of this host and its guests.
const hostArch = vcpu.Arch

// addUART puts the early console where the kernel expects it.
func addUART(m *machine.Machine, out *serial.Lines) error {
	return m.AddPIO("16550", vcpu.UART, vcpu.UARTSize, serial.New16550(out))
}

// addDoorbell puts the doorbell where the boot info says.
func addDoorbell(m *machine.Machine, d *Doorbell) error {
	return m.AddPIO("doorbell", vcpu.Doorbell, vcpu.DoorbellSize, d)
}

// What reports need to know about the guest's instructions.
const callLength = disasm.CallLength

var (
	disassemble = disasm.Decode
	callTarget  = disasm.CallTarget
)

// kernelRoot is the variable that holds the GPA of the kernel's root page table.
const kernelRoot = "ringo/arch/amd64/ring0.kernelRoot"

// describeArea is what the kernel's memory tells of a vCPU whose registers are lost.
var describeArea = area.Describe

// syscallNumbers are the system calls by name.
var syscallNumbers = abi.SyscallNumbers

// savedPC is the offset of the return address in the frame of a context switch: arch/amd64/fixedstack, Yield.
const savedPC = 48

// For debuggers.
type (
	registerState = gdbregs.State
)

const (
	elfMachine    = elf.EM_X86_64
	watchesBehind = vcpu.WatchesBehind
	alarm         = vcpu.Alarm
	regPC         = gdbregs.PC
	regSP         = gdbregs.SP
	regFP         = gdbregs.FP
	// kernelHalf and kernelLast are the first and last GVA of the kernel's half.
	kernelHalf = 0xffff_8000_0000_0000
	kernelLast = 0xffff_ffff_ffff_ffff
)

var (
	registerTable    = gdbregs.Description
	partialRegisters = gdbregs.Partial
)
