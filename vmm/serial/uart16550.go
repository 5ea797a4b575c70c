// Package serial is the early console: a 16550 on amd64, a PL011 on arm64. The guest only
// prints through them; there is no receiver. Both hand whole lines to an io.Writer.
package serial

import "sync"

// Offsets of the 16550's registers (PC16550D data sheet, section 8).
const (
	regData        = 0 // THR, RBR; DLL with DLAB
	regIER         = 1 // DLM with DLAB
	regIIR         = 2 // FCR when written
	regLCR         = 3
	regMCR         = 4
	regLSR         = 5
	regMSR         = 6
	regScratch     = 7
	lcrDLAB        = 1 << 7
	lsrEmpty       = 1<<5 | 1<<6 // THR and shift register empty: always
	iirNone        = 1
	iirFIFO        = 0xc0
	msrConnected   = 1<<4 | 1<<5 | 1<<7 // CTS DSR DCD
	mcrLoop        = 1 << 4
	pl011DR        = 0x000
	pl011FR        = 0x018
	pl011IBRD      = 0x024
	pl011FBRD      = 0x028
	pl011LCRH      = 0x02c
	pl011CR        = 0x030
	pl011IFLS      = 0x034
	pl011IMSC      = 0x038
	pl011ID        = 0xfe0
	pl011FREmpty   = 1<<4 | 1<<7 // receive FIFO empty, transmit FIFO empty
	pl011CRDefault = 0x300
)

// UART16550 is the registers of a 16550A at eight consecutive ports.
type UART16550 struct {
	out *Lines

	mu                      sync.Mutex
	ier, lcr, mcr, scr, fcr byte
	divisor                 [2]byte
}

// New16550 sends what the guest prints to out.
func New16550(out *Lines) *UART16550 { return &UART16550{out: out, divisor: [2]byte{1, 0}} }

// Read answers byte reads; wider ones read register by register, all ones beyond the last.
func (u *UART16550) Read(offset uint64, data []byte) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for i := range data {
		data[i] = u.readLocked(offset + uint64(i))
	}
}

func (u *UART16550) readLocked(reg uint64) byte {
	dlab := u.lcr&lcrDLAB != 0
	switch reg {
	case regData:
		if dlab {
			return u.divisor[0]
		}
		return 0
	case regIER:
		if dlab {
			return u.divisor[1]
		}
		return u.ier
	case regIIR:
		if u.fcr&1 != 0 {
			return iirNone | iirFIFO
		}
		return iirNone
	case regLCR:
		return u.lcr
	case regMCR:
		return u.mcr
	case regLSR:
		return lsrEmpty
	case regMSR:
		return msrConnected
	case regScratch:
		return u.scr
	}
	return 0xff
}

// Write takes byte writes. A string of bytes (OUTS, or a wide OUT to the data register)
// prints each byte only at the data register.
func (u *UART16550) Write(offset uint64, data []byte) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for i, b := range data {
		u.writeLocked(offset+uint64(i), b)
	}
}

func (u *UART16550) writeLocked(reg uint64, b byte) {
	dlab := u.lcr&lcrDLAB != 0
	switch reg {
	case regData:
		switch {
		case dlab:
			u.divisor[0] = b
		case u.mcr&mcrLoop == 0:
			u.out.put(b)
		}
	case regIER:
		if dlab {
			u.divisor[1] = b
		} else {
			u.ier = b & 0xf
		}
	case regIIR:
		u.fcr = b
	case regLCR:
		u.lcr = b
	case regMCR:
		u.mcr = b & 0x1f
	case regScratch:
		u.scr = b
	}
}
