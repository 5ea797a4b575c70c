package serial

import (
	"encoding/binary"
	"sync"
)

// PL011 is the registers of Arm's PrimeCell UART (DDI 0183) in a 4 KiB window.
type PL011 struct {
	out *Lines

	mu                               sync.Mutex
	ibrd, fbrd, lcrh, cr, ifls, imsc uint32
}

// NewPL011 sends what the guest prints to out.
func NewPL011(out *Lines) *PL011 { return &PL011{out: out, cr: pl011CRDefault, ifls: 0x12} }

// pl011Identity is PeriphID0-3 and PCellID0-3 (DDI 0183 section 3.3).
var pl011Identity = [8]byte{0x11, 0x10, 0x34, 0x00, 0x0d, 0xf0, 0x05, 0xb1}

// Read answers reads of any width from the 32-bit register at the offset.
func (u *PL011) Read(offset uint64, data []byte) {
	var word [8]byte
	binary.LittleEndian.PutUint32(word[:], u.register(offset&^3))
	n := copy(data, word[min(offset&3, 7):])
	clear(data[n:])
}

func (u *PL011) register(offset uint64) uint32 {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch offset {
	case pl011FR:
		return pl011FREmpty
	case pl011IBRD:
		return u.ibrd
	case pl011FBRD:
		return u.fbrd
	case pl011LCRH:
		return u.lcrh
	case pl011CR:
		return u.cr
	case pl011IFLS:
		return u.ifls
	case pl011IMSC:
		return u.imsc
	}
	if offset >= pl011ID && offset < pl011ID+32 {
		return uint32(pl011Identity[(offset-pl011ID)/4])
	}
	return 0
}

// Write takes writes of any width; only the low 32 bits at an aligned offset count.
func (u *PL011) Write(offset uint64, data []byte) {
	var word [4]byte
	copy(word[:], data)
	v := binary.LittleEndian.Uint32(word[:])
	u.mu.Lock()
	defer u.mu.Unlock()
	switch offset {
	case pl011DR:
		u.out.put(byte(v))
	case pl011IBRD:
		u.ibrd = v & 0xffff
	case pl011FBRD:
		u.fbrd = v & 0x3f
	case pl011LCRH:
		u.lcrh = v & 0xff
	case pl011CR:
		u.cr = v & 0xffff
	case pl011IFLS:
		u.ifls = v & 0x3f
	case pl011IMSC:
		u.imsc = v & 0x7ff
	}
}
