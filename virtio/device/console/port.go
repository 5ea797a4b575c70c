package console

import (
	"io"
	"sync"

	spec "ringo/virtio/console"
)

// Port is the host's end of a port: reading takes what the guest has sent, writing sends to
// the guest. Safe for concurrent use.
type Port struct {
	c     *Console
	index int
	name  string

	mu        sync.Mutex
	changed   sync.Cond // of the buffers, for Read and Write
	in        byteRing  // to the guest
	out       byteRing  // from the guest
	guestOpen bool
	closed    bool
}

func newPort(c *Console, index int, name string) *Port {
	p := &Port{c: c, index: index, name: name}
	p.changed.L = &p.mu
	return p
}

// Name is the port's name.
func (p *Port) Name() string { return p.name }

// Read waits for bytes from the guest. After Close it answers what is left, then io.EOF.
func (p *Port) Read(b []byte) (int, error) {
	p.mu.Lock()
	for p.out.len() == 0 && !p.closed && len(b) > 0 {
		p.changed.Wait()
	}
	wasFull := p.out.room() == 0
	n := p.out.take(b)
	p.mu.Unlock()
	if wasFull && n > 0 {
		p.c.kick(spec.TxQueue(p.index))
	}
	if n == 0 && len(b) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// Write sends b to the guest and returns when the last byte is in the port's buffer. It
// blocks while the guest does not read; Close ends that with io.ErrClosedPipe.
func (p *Port) Write(b []byte) (int, error) {
	n := 0
	for {
		p.mu.Lock()
		for p.in.room() == 0 && !p.closed && n < len(b) {
			p.changed.Wait()
		}
		if p.closed {
			p.mu.Unlock()
			return n, io.ErrClosedPipe
		}
		k := p.in.put(b[n:])
		p.mu.Unlock()
		if k > 0 {
			p.c.kick(spec.RxQueue(p.index))
		}
		if n += k; n == len(b) {
			return n, nil
		}
	}
}

// Close ends the host's side: Read drains and ends, Write fails, and what the guest sends
// from now on is dropped so that it does not wait for a reader who is gone.
func (p *Port) Close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.changed.Broadcast()
	p.c.kick(spec.TxQueue(p.index))
	return nil
}

func (p *Port) setGuestOpen(open bool) {
	p.mu.Lock()
	p.guestOpen = open
	p.mu.Unlock()
}

// feedGuest is the worker of the port's receive queue.
func (p *Port) feedGuest(w *worker) error {
	for {
		// First the bytes, then the room for them: a chain is taken only to be filled.
		for !p.hasInput() {
			if err := w.wait(); err != nil {
				return err
			}
		}
		if err := w.next(); err != nil {
			return err
		}
		var sent uint32
		for sent < w.chain.WritableLen() {
			p.mu.Lock()
			n := p.in.take(w.buf[:min(len(w.buf), int(w.chain.WritableLen()-sent))])
			p.mu.Unlock()
			if n == 0 {
				break
			}
			p.changed.Broadcast()
			if _, err := w.chain.Write(w.buf[:n]); err != nil {
				return err
			}
			sent += uint32(n)
		}
		if err := w.complete(sent); err != nil {
			return err
		}
	}
}

func (p *Port) hasInput() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.guestOpen && p.in.len() > 0
}

// drainGuest is the worker of the port's transmit queue.
func (p *Port) drainGuest(w *worker) error {
	for {
		if err := w.next(); err != nil {
			return err
		}
		left := w.chain.ReadableLen()
		for left > 0 {
			room := p.outRoom()
			if room == 0 {
				if err := w.wait(); err != nil {
					return err
				}
				continue
			}
			n, err := w.chain.Read(w.buf[:min(len(w.buf), room, int(left))])
			if err != nil {
				return err
			}
			left -= uint32(n)
			p.mu.Lock()
			if !p.closed {
				p.out.put(w.buf[:n]) // only this goroutine shrinks the room
			}
			p.mu.Unlock()
			p.changed.Broadcast()
			if err := w.stopped(); err != nil {
				return err
			}
		}
		if err := w.complete(0); err != nil {
			return err
		}
	}
}

// outRoom is how much the transmit worker may take; all there is once nobody reads.
func (p *Port) outRoom() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return BufferSize
	}
	return p.out.room()
}

// byteRing is a FIFO of up to BufferSize bytes, allocated at first use.
type byteRing struct {
	b          []byte
	start, num int
}

func (r *byteRing) len() int  { return r.num }
func (r *byteRing) room() int { return BufferSize - r.num }

func (r *byteRing) put(p []byte) int {
	if r.b == nil && len(p) > 0 {
		r.b = make([]byte, BufferSize)
	}
	n := 0
	for n < len(p) && r.num < BufferSize {
		at := (r.start + r.num) % BufferSize
		k := copy(r.b[at:min(BufferSize, at+BufferSize-r.num)], p[n:])
		n += k
		r.num += k
	}
	return n
}

func (r *byteRing) take(p []byte) int {
	n := 0
	for n < len(p) && r.num > 0 {
		k := copy(p[n:], r.b[r.start:min(BufferSize, r.start+r.num)])
		n += k
		r.num -= k
		r.start = (r.start + k) % BufferSize
	}
	return n
}
