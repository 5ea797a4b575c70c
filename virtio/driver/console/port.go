package console

import (
	"io"
	"sync"
)

// Port is one byte stream to and from the host. Safe for concurrent use.
type Port struct {
	c     *Console
	index int
	rx    *link // nil for a port that only sends
	tx    *link

	mu         sync.Mutex
	changed    sync.Cond // something to read, room to write, drained, or gone
	gone       bool
	onReadable func()
	onWritable func()
}

// TryRead copies what has arrived to p and answers 0 when nothing has.
func (p *Port) TryRead(b []byte) int {
	l := p.rx
	if l == nil {
		return 0
	}
	l.mu.Lock()
	// The service goroutine also collects; doing it here saves the wait for it. A broken
	// ring is its to report.
	_ = l.collectLocked()
	n, notify := l.takeLocked(b)
	l.mu.Unlock()
	if notify {
		p.c.guest.Notify(l.index)
	}
	return n
}

// TryWrite takes as much of b as there is room for and answers how much.
func (p *Port) TryWrite(b []byte) int { return p.tx.send(b) }

// Readable reports whether TryRead would answer something.
func (p *Port) Readable() bool {
	if p.rx == nil {
		return false
	}
	p.rx.mu.Lock()
	defer p.rx.mu.Unlock()
	_ = p.rx.collectLocked()
	return len(p.rx.filled) > 0
}

// Writable reports whether TryWrite would take something.
func (p *Port) Writable() bool {
	room, _, err := p.tx.reclaim()
	return room && err == nil
}

// Gone reports whether the device has failed: reads and writes will not succeed again.
func (p *Port) Gone() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.gone
}

// OnReadable sets what to call when bytes have arrived or the port is gone. It is called
// on the driver's goroutine and must not block. It may be called without need.
func (p *Port) OnReadable(f func()) {
	p.mu.Lock()
	p.onReadable = f
	p.mu.Unlock()
}

// OnWritable sets what to call when there is room again or the port is gone.
func (p *Port) OnWritable(f func()) {
	p.mu.Lock()
	p.onWritable = f
	p.mu.Unlock()
}

// Read waits for bytes. A port that is gone is io.EOF once all that arrived is read.
func (p *Port) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		if n := p.TryRead(b); n > 0 {
			return n, nil
		}
		if p.gone {
			return 0, io.EOF
		}
		p.changed.Wait()
	}
}

// Write returns when the last byte of b is in a buffer of the port. The device may have
// seen none yet: see Drain.
func (p *Port) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for {
		if p.gone {
			return n, ErrGone
		}
		if n += p.TryWrite(b[n:]); n == len(b) {
			return n, nil
		}
		p.changed.Wait()
	}
}

// Drain waits until the device has consumed all that was written.
func (p *Port) Drain() error {
	p.tx.drain(+1)
	defer p.tx.drain(-1)
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		if p.gone {
			return ErrGone
		}
		_, empty, err := p.tx.reclaim()
		if err != nil {
			return err
		}
		if empty {
			return nil
		}
		p.changed.Wait()
	}
}

// service runs on the driver's goroutine after an interrupt. It takes mu before waking
// anyone, so that a caller between its look and its Wait cannot miss it.
func (p *Port) service() error {
	readable := false
	if l := p.rx; l != nil {
		l.mu.Lock()
		err := l.collectLocked()
		readable = len(l.filled) > 0
		l.mu.Unlock()
		if err != nil {
			return err
		}
	}
	writable, _, err := p.tx.reclaim()
	if err != nil {
		return err
	}
	p.wake(readable, writable)
	return nil
}

func (p *Port) wake(readable, writable bool) {
	p.mu.Lock()
	p.changed.Broadcast()
	onReadable, onWritable := p.onReadable, p.onWritable
	p.mu.Unlock()
	if readable && onReadable != nil {
		onReadable()
	}
	if writable && onWritable != nil {
		onWritable()
	}
}

func (p *Port) hangUp() {
	p.mu.Lock()
	p.gone = true
	p.mu.Unlock()
	p.wake(true, true)
}
