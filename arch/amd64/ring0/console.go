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

// ConsoleWrite writes n bytes at p to the early console: by the page where the monitor takes text, else one port write a byte. The
// monitor's transmitter is always ready. It needs nothing but this package's data and may print a kernel's last words. Callers serialise.
func ConsoleWrite(p uintptr, n int) {
	if textFrame != 0 {
		printText(p, n)
		return
	}
	for i := range n {
		outb(uart, *(*byte)(pointer(uint64(p) + uint64(i))))
	}
}

// tellText has the monitor print the page.
func tellText() { outl(doorbellPort+bootinfo.TextRegister, textFrame) }

// PowerOff ends the machine with a code of package bootinfo. It does not return.
func PowerOff(code int) {
	for {
		outl(powerPort, uint32(code))
		halt()
	}
}
