package tty

import (
	"golang.org/x/sys/unix"

	"ringo/guestkernel/vfs"
	"ringo/guestkernel/wait"
)

// Requests that x/sys/unix does not name on both architectures (asm-generic/ioctls.h).
const (
	tcgets2  = 0x802c542a
	tcsets2  = 0x402c542b
	tcsetsw2 = 0x402c542c
	tcsetsf2 = 0x402c542d
)

// Ioctl implements vfs.File. ErrWouldBlock waits for the output to drain.
func (f file) Ioctl(c vfs.Caller, d *vfs.Description, cmd uint32, arg uint64) (uint64, error) {
	t := f.t
	if t.hungUp() {
		if cmd == unix.TIOCSPGRP {
			return 0, unix.ENOTTY
		}
		return 0, unix.EIO
	}
	switch cmd {
	case unix.TIOCEXCL, unix.TIOCNXCL:
		t.mu.Lock()
		t.exclusive = cmd == unix.TIOCEXCL
		t.mu.Unlock()
		return 0, nil
	case unix.TCGETS, tcgets2:
		t.mu.Lock()
		b := t.termios.encode()
		t.mu.Unlock()
		if cmd == unix.TCGETS {
			b = b[:termiosSize]
		}
		return 0, c.CopyOutUser(arg, b)
	case unix.TCSETS, unix.TCSETSW, unix.TCSETSF, tcsets2, tcsetsw2, tcsetsf2:
		return 0, t.setTermios(c, cmd, arg)
	case unix.TIOCGWINSZ:
		t.mu.Lock()
		w := t.winsize
		t.mu.Unlock()
		var b [8]byte
		for i, v := range []uint16{w.rows, w.cols, w.xpixel, w.ypixel} {
			le.PutUint16(b[2*i:], v)
		}
		return 0, c.CopyOutUser(arg, b[:])
	case unix.TIOCSWINSZ:
		var b [8]byte
		if err := c.CopyInUser(arg, b[:]); err != nil {
			return 0, err
		}
		t.mu.Lock()
		defer t.unlock()
		t.resizeLocked(winsize{le.Uint16(b[:]), le.Uint16(b[2:]), le.Uint16(b[4:]), le.Uint16(b[6:])})
		return 0, nil
	case unix.TIOCINQ:
		t.mu.Lock()
		n := t.available()
		t.mu.Unlock()
		return 0, vfs.PutInt32(c, arg, int32(n))
	case unix.TIOCOUTQ:
		t.mu.Lock()
		n := len(t.out)
		t.mu.Unlock()
		return 0, vfs.PutInt32(c, arg, int32(n))
	case unix.TIOCGETD:
		return 0, vfs.PutInt32(c, arg, 0) // N_TTY
	case unix.TIOCSETD:
		if n, err := vfs.GetInt32(c, arg); err != nil || n != 0 {
			return 0, orInvalid(err)
		}
		return 0, nil
	case unix.TCSBRK, unix.TCSBRKP, unix.TCXONC, unix.TCFLSH:
		return 0, t.flow(c, cmd, arg)
	case unix.TIOCSCTTY, unix.TIOCNOTTY, unix.TIOCGPGRP, unix.TIOCSPGRP, unix.TIOCGSID:
		return 0, t.jobs(c, cmd, arg)
	}
	return 0, unix.ENOTTY
}

func orInvalid(err error) error {
	if err == nil {
		err = unix.EINVAL
	}
	return err
}

// setTermios serves the TCSETS family: W waits for the output, F forgets input too.
func (t *Terminal) setTermios(c vfs.Caller, cmd uint32, arg uint64) error {
	b := make([]byte, termiosSize)
	switch cmd {
	case tcsets2, tcsetsw2, tcsetsf2:
		b = make([]byte, termios2Size)
	}
	if err := c.CopyInUser(arg, b); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.unlock()
	if err := t.backgroundLocked(c, unix.SIGTTOU); err != nil {
		return err
	}
	if cmd != unix.TCSETS && cmd != tcsets2 && len(t.out) > 0 && !t.gone {
		return wait.ErrWouldBlock
	}
	if cmd == unix.TCSETSF || cmd == tcsetsf2 {
		t.lines, t.edit = nil, t.edit[:0]
		t.tellLocked(unix.TIOCPKT_FLUSHREAD)
	}
	old := t.termios
	t.termios.decode(b)
	if was, is := old.stops(), t.termios.stops(); was != is {
		if is {
			t.tellLocked(unix.TIOCPKT_DOSTOP)
		} else {
			t.tellLocked(unix.TIOCPKT_NOSTOP)
		}
	}
	if old.local(unix.ICANON) != t.termios.local(unix.ICANON) {
		// What was read in one mode can be read in the other.
		if t.termios.local(unix.ICANON) && len(t.edit) > 0 {
			t.completeLocked(t.edit, false)
		}
		t.queue.Notify(wait.In | wait.RdNorm)
	}
	if old.input(unix.IXON) && !t.termios.input(unix.IXON) && t.stopped {
		t.resumeLocked()
	}
	return nil
}

// flow serves draining, stopping and flushing.
func (t *Terminal) flow(c vfs.Caller, cmd uint32, arg uint64) error {
	t.mu.Lock()
	defer t.unlock()
	if err := t.backgroundLocked(c, unix.SIGTTOU); err != nil {
		return err
	}
	switch cmd {
	case unix.TCSBRK, unix.TCSBRKP:
		if len(t.out) > 0 && !t.gone {
			return wait.ErrWouldBlock
		}
	case unix.TCXONC:
		switch arg {
		case unix.TCOOFF:
			t.stopLocked()
		case unix.TCOON:
			t.resumeLocked()
		case unix.TCIOFF, unix.TCION:
		default:
			return unix.EINVAL
		}
	case unix.TCFLSH:
		if arg > unix.TCIOFLUSH {
			return unix.EINVAL
		}
		if arg != unix.TCOFLUSH {
			t.lines, t.edit = nil, t.edit[:0]
			t.tellLocked(unix.TIOCPKT_FLUSHREAD)
		}
		if arg != unix.TCIFLUSH {
			t.out = t.out[:0]
			t.tellLocked(unix.TIOCPKT_FLUSHWRITE)
			t.queue.Notify(wait.Out | wait.WrNorm)
		}
	}
	return nil
}

// jobs serves job control.
func (t *Terminal) jobs(c vfs.Caller, cmd uint32, arg uint64) error {
	if cmd == unix.TIOCSPGRP {
		pgid, err := vfs.GetInt32(c, arg)
		if err != nil {
			return err
		}
		t.mu.Lock()
		defer t.unlock()
		return t.setForegroundLocked(c, int(pgid))
	}
	t.mu.Lock()
	session, foreground := t.session, t.foreground
	switch cmd {
	case unix.TIOCSCTTY:
		defer t.unlock()
		return t.setControllingLocked(c, arg == 1)
	case unix.TIOCNOTTY:
		t.mu.Unlock()
		if session == 0 || session != c.SID() {
			return unix.ENOTTY
		}
		if c.PID() == session {
			t.disassociate(session)
		}
		return nil
	}
	t.mu.Unlock()
	if session == 0 || session != c.SID() {
		return unix.ENOTTY
	}
	if cmd == unix.TIOCGSID {
		return vfs.PutInt32(c, arg, int32(session))
	}
	return vfs.PutInt32(c, arg, int32(foreground))
}
