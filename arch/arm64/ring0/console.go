//go:build arm64

package ring0

import "ringo/internal/bootinfo"

// PSCI functions (Arm DEN0022, 5.1), 32-bit calling convention.
const (
	psciSystemOff   = 0x8400_0008
	psciSystemReset = 0x8400_0009

	uartDefault = 0x8000_0000_0000 + 0x0900_0000 // PL011, data register at offset 0
)

var uart uint64 = uartDefault

// ConsoleWrite writes n bytes at p to the early console: by the page where the monitor takes text, else one register write a byte. The
// monitor's transmitter is always ready. It needs nothing but this package's data and may print a kernel's last words. Callers serialise.
func ConsoleWrite(p uintptr, n int) {
	if textFrame != 0 {
		printText(p, n)
		return
	}
	for i := range n {
		MMIOWrite32(uart, uint32(*(*byte)(pointer(uint64(p) + uint64(i)))))
	}
}

// tellText has the monitor print the page.
func tellText() { MMIOWrite32(doorbell+bootinfo.TextRegister, textFrame) }

// PowerOff ends the machine with a code of package bootinfo. It does not return.
func PowerOff(code int) {
	function := uint64(psciSystemReset)
	if code == bootinfo.PowerOffNormal {
		function = psciSystemOff
	}
	for {
		hypercall(function)
		waitForInterrupt()
	}
}
