package tty

import (
	"sync"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/vfs"
	"ringo/guestkernel/wait"
)

// maxMaster is how many bytes of output a pty's master side holds until somebody reads them.
const maxMaster = 16 << 10

// Pty is a pseudo-terminal (pty(7)): a terminal whose wire is a file, the master.
//
// Locks: mu is taken under the terminal's lock (TryWrite), never the other way round.
type Pty struct {
	vfs.StreamFile
	Terminal *Terminal
	Number   int

	queue wait.Queue
	freed func() // called when the master is closed

	mu     sync.Mutex
	out    []byte // output of the terminal, for the master to read
	locked bool   // the slave cannot be opened (TIOCSPTLCK)
	packet bool   // reads of the master start with a status byte (TIOCPKT)
	status byte   // changes that the master has not read of (TIOCPKT_*)
	slaves int    // open descriptions of the slave
	opened bool   // the slave has been open
	closed bool   // the master is gone
}

// NewPty answers a pty whose slave is locked; freed is called when its master is closed.
func NewPty(number int, processes Processes, sessions *Sessions, freed func()) *Pty {
	p := &Pty{Number: number, freed: freed, locked: true}
	p.Terminal = New(p, processes, sessions, func() { p.queue.Notify(wait.Out | wait.WrNorm) })
	p.Terminal.packet = p.note
	p.Terminal.dev = unix.Mkdev(136, uint32(number))
	return p
}

// TryWrite implements Line.
func (p *Pty) TryWrite(b []byte) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return len(b)
	}
	n := min(len(b), maxMaster-len(p.out))
	p.out = append(p.out, b[:n]...)
	if n > 0 {
		p.queue.Notify(wait.In | wait.RdNorm)
	}
	return n
}

// note remembers a change for packet mode. The terminal's lock is held.
func (p *Pty) note(what byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.packet {
		return
	}
	for _, opposite := range []byte{unix.TIOCPKT_STOP | unix.TIOCPKT_START, unix.TIOCPKT_DOSTOP | unix.TIOCPKT_NOSTOP} {
		if what&opposite != 0 {
			p.status &^= opposite
		}
	}
	p.status |= what
	p.queue.Notify(wait.In | wait.RdNorm | wait.Pri)
}

// Register implements wait.Source.
func (p *Pty) Register(e *wait.Entry, m wait.Mask) { p.queue.Register(e, m) }

// Unregister implements wait.Source.
func (p *Pty) Unregister(e *wait.Entry) { p.queue.Unregister(e) }

// Readiness implements vfs.File.
func (p *Pty) Readiness(*vfs.Description) wait.Mask {
	room := p.Terminal.Room()
	p.mu.Lock()
	defer p.mu.Unlock()
	var m wait.Mask
	if len(p.out) > 0 {
		m |= wait.In | wait.RdNorm
	}
	if p.status != 0 {
		m |= wait.In | wait.RdNorm | wait.Pri
	}
	if p.opened && p.slaves == 0 {
		m |= wait.Hup
	}
	if room {
		m |= wait.Out | wait.WrNorm
	}
	return m
}

// Read implements vfs.File: EIO when all is read and the slave is closed.
func (p *Pty) Read(_ vfs.Caller, _ *vfs.Description, dst vfs.Buffer, _ *int64) (int, error) {
	if dst.Len() == 0 {
		return 0, nil
	}
	p.mu.Lock()
	if s := p.status; s != 0 {
		p.status = 0
		p.mu.Unlock()
		return dst.CopyOut(0, []byte{s})
	}
	if len(p.out) == 0 {
		defer p.mu.Unlock()
		if p.opened && p.slaves == 0 {
			return 0, unix.EIO
		}
		return 0, wait.ErrWouldBlock
	}
	var b []byte
	room := dst.Len()
	if p.packet {
		b = append(b, unix.TIOCPKT_DATA)
		room--
	}
	n := min(room, len(p.out))
	b = append(b, p.out[:n]...)
	p.out = p.out[:copy(p.out, p.out[n:])]
	p.mu.Unlock()
	p.Terminal.Writable()
	return dst.CopyOut(0, b)
}

// Write implements vfs.File: what is typed.
func (p *Pty) Write(_ vfs.Caller, _ *vfs.Description, src vfs.Buffer, _ *int64) (int, error) {
	var chunk [512]byte
	for done := 0; done < src.Len(); {
		n, err := src.CopyIn(done, chunk[:min(len(chunk), src.Len()-done)])
		took := p.Terminal.Receive(chunk[:n])
		done += took
		if err != nil {
			return done, err
		}
		if took < n {
			return done, wait.ErrWouldBlock
		}
	}
	return src.Len(), nil
}

// Requests of the master that x/sys/unix does not name (asm-generic/ioctls.h).
const (
	tiocgptlck = 0x80045439
	tiocgpkt   = 0x80045438
	tiocsig    = 0x40045436
)

// Ioctl implements vfs.File: requests of the master, and those of a terminal, which are the slave's.
func (p *Pty) Ioctl(c vfs.Caller, d *vfs.Description, cmd uint32, arg uint64) (uint64, error) {
	t := p.Terminal
	switch cmd {
	case unix.TIOCGPTN:
		return 0, vfs.PutInt32(c, arg, int32(p.Number))
	case unix.TIOCSPTLCK, unix.TIOCPKT:
		v, err := vfs.GetInt32(c, arg)
		if err != nil {
			return 0, err
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		if cmd == unix.TIOCPKT {
			p.packet, p.status = v != 0, 0
		} else {
			p.locked = v != 0
		}
		return 0, nil
	case tiocgptlck, tiocgpkt:
		p.mu.Lock()
		on := p.locked && cmd == tiocgptlck || p.packet && cmd == tiocgpkt
		p.mu.Unlock()
		v := int32(0)
		if on {
			v = 1
		}
		return 0, vfs.PutInt32(c, arg, v)
	case tiocsig:
		if arg == 0 || arg > 64 {
			return 0, unix.EINVAL
		}
		t.SignalForeground(unix.Signal(arg))
		return 0, nil
	case unix.TIOCINQ:
		p.mu.Lock()
		n := len(p.out)
		p.mu.Unlock()
		return 0, vfs.PutInt32(c, arg, int32(n))
	case unix.TIOCGPGRP, unix.TIOCGSID:
		// The master sees them whatever its own session.
		t.mu.Lock()
		session, foreground := t.session, t.foreground
		t.mu.Unlock()
		if cmd == unix.TIOCGPGRP {
			return 0, vfs.PutInt32(c, arg, int32(foreground))
		}
		if session == 0 {
			return 0, unix.ENOTTY
		}
		return 0, vfs.PutInt32(c, arg, int32(session))
	case unix.TIOCSCTTY, unix.TIOCNOTTY:
		return 0, unix.ENOTTY
	}
	return file{t: t}.Ioctl(c, d, cmd, arg)
}

// Release implements vfs.File: the master is closed, the terminal hangs up.
func (p *Pty) Release(*vfs.Description) {
	p.mu.Lock()
	p.closed = true
	p.out = nil
	p.mu.Unlock()
	p.freed()
	p.Terminal.Hangup()
}

// slave is an open slave.
type slave struct {
	file
	p *Pty
}

// OpenSlave opens the terminal's side.
func (p *Pty) OpenSlave(c vfs.Caller, d *vfs.Description) (vfs.File, error) {
	p.mu.Lock()
	if p.locked || p.closed {
		p.mu.Unlock()
		return nil, unix.EIO
	}
	p.slaves++
	p.opened = true
	p.mu.Unlock()
	f, err := p.Terminal.Open(c, d, true)
	if err != nil {
		p.leave()
		return nil, err
	}
	return slave{f.(file), p}, nil
}

// leave counts a slave less; the last one hangs the master up.
func (p *Pty) leave() {
	p.mu.Lock()
	p.slaves--
	if p.slaves == 0 {
		p.queue.Notify(wait.In | wait.RdNorm | wait.Hup)
	}
	p.mu.Unlock()
}

// Release implements vfs.File.
func (s slave) Release(*vfs.Description) { s.p.leave() }
