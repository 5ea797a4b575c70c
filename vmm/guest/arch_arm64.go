package guest

import (
	"ringo/arch/arm64/disasm"
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

// disassemble decodes the guest's instructions for reports.
var disassemble = disasm.Decode
