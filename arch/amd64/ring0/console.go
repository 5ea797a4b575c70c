//go:build amd64

package ring0

import (
	"ringo/internal/bootinfo"
)

// 16550 registers (from the base port).
const (
	uartDefault = 0x3f8
	powerNormal = bootinfo.PowerOffNormal
)

var (
	uart      uint16 = uartDefault
	powerPort uint16 = 0x604
)

// ConsoleWrite writes n bytes at p to the early console, one port write a byte. The monitor's
// transmitter is always ready. Callers serialise.
func ConsoleWrite(p uintptr, n int) {
	for i := range n {
		outb(uart, *(*byte)(pointer(uint64(p) + uint64(i))))
	}
}

// PowerOff ends the machine with a code of package bootinfo. It does not return.
func PowerOff(code int) {
	for {
		outl(powerPort, uint32(code))
		halt()
	}
}
