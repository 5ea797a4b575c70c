package tty

import (
	"golang.org/x/sys/unix"

	"ringo/guestkernel/wait"
)

const tabWidth = 8

// putLocked adds one byte, processed as OPOST says; it mirrors do_output_char.
func (t *Terminal) putLocked(c byte) {
	s := &t.termios
	if len(t.out) >= 2*maxOutput {
		return // echo that nobody takes
	}
	if !s.output(unix.OPOST) {
		t.out = append(t.out, c)
		return
	}
	switch c {
	case '\n':
		if s.output(unix.ONLRET) {
			t.column = 0
		}
		if s.output(unix.ONLCR) {
			t.column, t.start = 0, 0
			t.out = append(t.out, '\r', '\n')
			return
		}
		t.start = t.column
	case '\r':
		if s.output(unix.ONOCR) && t.column == 0 {
			return
		}
		if s.output(unix.OCRNL) {
			c = '\n'
			if s.output(unix.ONLRET) {
				t.column, t.start = 0, 0
			}
			break
		}
		t.column, t.start = 0, 0
	case '\t':
		spaces := tabWidth - t.column%tabWidth
		t.column += spaces
		if s.Oflag&unix.TABDLY == unix.XTABS {
			t.out = append(t.out, "        "[:spaces]...)
			return
		}
	case '\b':
		t.column = max(0, t.column-1)
	default:
		if !control(c) {
			if s.output(unix.OLCUC) && c >= 'a' && c <= 'z' {
				c -= 'a' - 'A'
			}
			if !s.continues(c) {
				t.column++
			}
		}
	}
	t.out = append(t.out, c)
}

// echoLocked shows an input character; control characters as ^X with ECHOCTL.
func (t *Terminal) echoLocked(c byte) {
	if control(c) && c != '\t' && t.termios.local(unix.ECHOCTL) {
		t.out = append(t.out, '^', c^0x40)
		t.column += 2
		return
	}
	t.putLocked(c)
}

// flushLocked gives output to the line.
func (t *Terminal) flushLocked() {
	if t.stopped || len(t.out) == 0 {
		return
	}
	n := t.line.TryWrite(t.out)
	t.out = t.out[:copy(t.out, t.out[n:])]
	if n > 0 && len(t.out) <= maxOutput-outputRoom {
		t.queue.Notify(wait.Out | wait.WrNorm)
	}
}

// Writable is called when the line takes output again.
func (t *Terminal) Writable() {
	t.mu.Lock()
	t.flushLocked()
	t.unlock()
}

// resumeLocked undoes VSTOP.
func (t *Terminal) resumeLocked() {
	if t.stopped {
		t.tellLocked(unix.TIOCPKT_START)
	}
	t.stopped = false
	t.flushLocked()
	t.queue.Notify(wait.Out | wait.WrNorm)
}

// stopLocked holds the output back until it is resumed.
func (t *Terminal) stopLocked() {
	if !t.stopped {
		t.tellLocked(unix.TIOCPKT_STOP)
	}
	t.stopped = true
}

// tellLocked tells a master in packet mode what has happened (TIOCPKT_*).
func (t *Terminal) tellLocked(what byte) {
	if t.packet != nil {
		t.packet(what)
	}
}
