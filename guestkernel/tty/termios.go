// Package tty holds terminals: the line discipline N_TTY with its termios settings (termios(3), ioctl_tty(2)), job control, and the console.
// Ptys will be further users of Terminal: a terminal's lower side is an interface.
//
// Locks: Terminal.mu guards a terminal, Sessions.mu the table of controlling terminals. The order is Terminal.mu, Sessions.mu, then the task layer's
// locks: that layer calls this package without holding any. Signals are sent with none of these held.
package tty

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

var le = binary.LittleEndian

// ccCount is the kernel's NCCS; the C library's is larger.
const ccCount = 19

// Sizes in bytes of the kernel's struct termios and struct termios2 (asm-generic/termbits.h), the same on both architectures.
const (
	termiosSize  = 4*4 + 1 + ccCount
	termios2Size = termiosSize + 8
)

// Termios are a terminal's settings.
type Termios struct {
	Iflag, Oflag, Cflag, Lflag uint32
	Line                       uint8
	Cc                         [ccCount]uint8
	Ispeed, Ospeed             uint32 // baud
}

// Default are the settings of a new terminal (tty_std_termios).
var Default = Termios{
	Iflag: unix.ICRNL | unix.IXON,
	Oflag: unix.OPOST | unix.ONLCR,
	Cflag: unix.B38400 | unix.CS8 | unix.CREAD | unix.HUPCL,
	Lflag: unix.ISIG | unix.ICANON | unix.ECHO | unix.ECHOE | unix.ECHOK | unix.ECHOCTL | unix.ECHOKE | unix.IEXTEN,
	Cc: [ccCount]uint8{
		unix.VINTR: 'C' & 31, unix.VQUIT: '\\' & 31, unix.VERASE: 127, unix.VKILL: 'U' & 31, unix.VEOF: 'D' & 31, unix.VMIN: 1,
		unix.VSTART: 'Q' & 31, unix.VSTOP: 'S' & 31, unix.VSUSP: 'Z' & 31, unix.VREPRINT: 'R' & 31, unix.VDISCARD: 'O' & 31,
		unix.VWERASE: 'W' & 31, unix.VLNEXT: 'V' & 31,
	},
	Ispeed: 38400,
	Ospeed: 38400,
}

// encode lays out struct termios2; its beginning is struct termios.
func (t *Termios) encode() []byte {
	b := make([]byte, 0, termios2Size)
	for _, v := range []uint32{t.Iflag, t.Oflag, t.Cflag, t.Lflag} {
		b = le.AppendUint32(b, v)
	}
	b = append(b, t.Line)
	b = append(b, t.Cc[:]...)
	b = le.AppendUint32(b, t.Ispeed)
	return le.AppendUint32(b, t.Ospeed)
}

// decode takes struct termios or struct termios2, by length. Speeds follow from the baud bits, or are explicit with BOTHER.
func (t *Termios) decode(b []byte) {
	for i, f := range []*uint32{&t.Iflag, &t.Oflag, &t.Cflag, &t.Lflag} {
		*f = le.Uint32(b[4*i:])
	}
	t.Line = b[16]
	copy(t.Cc[:], b[17:termiosSize])
	baud := t.Cflag & unix.CBAUD
	if speed, ok := speeds[baud]; ok {
		t.Ospeed, t.Ispeed = speed, speed
	} else if len(b) == termios2Size {
		t.Ispeed, t.Ospeed = le.Uint32(b[termiosSize:]), le.Uint32(b[termiosSize+4:])
	}
}

var speeds = map[uint32]uint32{
	unix.B0: 0, unix.B50: 50, unix.B75: 75, unix.B110: 110, unix.B134: 134, unix.B150: 150, unix.B200: 200, unix.B300: 300, unix.B600: 600,
	unix.B1200: 1200, unix.B1800: 1800, unix.B2400: 2400, unix.B4800: 4800, unix.B9600: 9600, unix.B19200: 19200, unix.B38400: 38400,
	unix.B57600: 57600, unix.B115200: 115200, unix.B230400: 230400, unix.B460800: 460800, unix.B500000: 500000, unix.B921600: 921600,
	unix.B1000000: 1000000, unix.B1500000: 1500000, unix.B2000000: 2000000, unix.B3000000: 3000000, unix.B4000000: 4000000,
}

func (t *Termios) input(flag uint32) bool  { return t.Iflag&flag != 0 }
func (t *Termios) output(flag uint32) bool { return t.Oflag&flag != 0 }
func (t *Termios) local(flag uint32) bool  { return t.Lflag&flag != 0 }

// is reports whether c is the special character (V*), which 0 switches off.
func (t *Termios) is(c byte, special int) bool { return c != 0 && c == t.Cc[special] }

// stops says whether ^S and ^Q stop and start the output, which masters in packet mode want to know.
func (t *Termios) stops() bool {
	return t.input(unix.IXON) && t.Cc[unix.VSTOP] == 0x13 && t.Cc[unix.VSTART] == 0x11
}
