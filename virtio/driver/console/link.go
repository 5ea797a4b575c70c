package console

import (
	"sync"

	spec "ringo/virtio/console"
	"ringo/virtio/queue"
)

// link is one queue and its fixed buffers: one descriptor each, so that a chain's head
// says which buffer it carries.
type link struct {
	c     *Console
	index int

	mu   sync.Mutex
	q    *queue.Driver
	data []byte // buffers, bufferSize bytes each
	gpa  uint64 // of data

	buffer []int // by head: the buffer under way
	idle   []int // buffers that are neither under way nor collecting

	// Receive: buffers that the device has filled, oldest first.
	filled []span
	// Transmit: the buffer that collects bytes, -1 for none, and how many it has.
	open, openLen int
	drains        int // callers that wait for everything to be consumed
}

// span is the unread part of a filled buffer.
type span struct{ buffer, from, to int }

// newLink makes queue index of buffers descriptors, as many as it has buffers. The buffers of
// a receive queue are published; those of the control queues want no interrupts, because
// nobody waits for what they carry.
func (c *Console) newLink(index, buffers int, eventIdx bool) (*link, error) {
	size := uint16(buffers)
	ring, ringGPA, err := c.env.Alloc((queue.RegionBytes(size) + 4095) &^ 4095)
	if err != nil {
		return nil, err
	}
	l := &link{c: c, index: index, open: -1, buffer: make([]int, size)}
	if l.q, err = queue.NewDriver(ring, ringGPA, size, eventIdx); err != nil {
		return nil, err
	}
	if l.data, l.gpa, err = c.env.Alloc(buffers * bufferSize); err != nil {
		return nil, err
	}
	for i := range buffers {
		l.idle = append(l.idle, i)
	}
	if l.receives() {
		l.fillLocked() // nobody else knows the link yet
	}
	if !l.receives() || index == spec.QueueControlRx {
		l.q.DisableInterrupts()
	}
	c.guest.SetQueue(index, size, l.q.DescAddr(), l.q.AvailAddr(), l.q.UsedAddr())
	return l, nil
}

// receives says that the queue carries bytes to the guest.
func (l *link) receives() bool { return l.index%2 == 0 }

func (l *link) bytes(buffer int) []byte {
	return l.data[buffer*bufferSize : (buffer+1)*bufferSize]
}

func (l *link) addLocked(buffer, n int, writable bool) {
	head, err := l.q.Add(queue.Buffer{Addr: l.gpa + uint64(buffer*bufferSize), Len: uint32(n), Writable: writable})
	if err != nil {
		// There are as many descriptors as buffers, and n is never 0.
		panic("virtio console: " + err.Error())
	}
	l.buffer[head] = buffer
}

// fillLocked offers all idle buffers of a receive queue to the device.
func (l *link) fillLocked() (notify bool) {
	for _, b := range l.idle {
		l.addLocked(b, bufferSize, true)
	}
	l.idle = l.idle[:0]
	return l.q.Publish()
}

// collectLocked moves what the device has filled to l.filled and asks for an interrupt at
// the next buffer.
func (l *link) collectLocked() error {
	for {
		if err := l.gatherLocked(); err != nil || !l.q.EnableInterrupts() {
			return err
		}
	}
}

func (l *link) gatherLocked() error {
	for {
		head, n, ok, err := l.q.Used()
		if !ok || err != nil {
			return err
		}
		b := l.buffer[head]
		if n == 0 {
			l.idle = append(l.idle, b)
			continue
		}
		l.filled = append(l.filled, span{b, 0, int(n)})
	}
}

// takeLocked copies received bytes to p and offers emptied buffers again.
func (l *link) takeLocked(p []byte) (n int, notify bool) {
	for n < len(p) && len(l.filled) > 0 {
		s := &l.filled[0]
		k := copy(p[n:], l.bytes(s.buffer)[s.from:s.to])
		n += k
		if s.from += k; s.from == s.to {
			l.idle = append(l.idle, s.buffer)
			l.filled = append(l.filled[:0], l.filled[1:]...)
		}
	}
	return n, l.fillLocked()
}

// takeControl answers the control messages received.
func (l *link) takeControl() ([]spec.Control, error) {
	l.mu.Lock()
	if err := l.gatherLocked(); err != nil {
		l.mu.Unlock()
		return nil, err
	}
	var msgs []spec.Control
	for _, s := range l.filled {
		if m, err := spec.ParseControl(l.bytes(s.buffer)[s.from:s.to]); err == nil {
			msgs = append(msgs, m)
		}
		l.idle = append(l.idle, s.buffer)
	}
	l.filled = l.filled[:0]
	notify := l.fillLocked()
	l.mu.Unlock()
	if notify {
		l.c.guest.Notify(l.index)
	}
	return msgs, nil
}

// send puts as much of p as fits into transmit buffers and answers how much. Bytes go out
// at once when the device has none of this queue's; otherwise with the batch that follows
// what it has.
func (l *link) send(p []byte) int {
	l.mu.Lock()
	n := l.sendLocked(p)
	notify := l.q.Publish()
	l.mu.Unlock()
	if notify {
		l.c.guest.Notify(l.index)
	}
	return n
}

func (l *link) sendLocked(p []byte) int {
	// A broken ring is reported by the service goroutine.
	_ = l.reclaimLocked()
	n := 0
	for n < len(p) {
		if l.open < 0 {
			if len(l.idle) == 0 {
				// Ask for an interrupt first and look again: what the device
				// consumed until then is announced to nobody.
				if l.settleLocked(); len(l.idle) == 0 {
					return n
				}
			}
			l.openLocked()
		}
		k := copy(l.bytes(l.open)[l.openLen:], p[n:])
		n += k
		l.openLen += k
		if l.openLen == bufferSize {
			l.closeOpenLocked()
		}
	}
	l.settleLocked()
	return n
}

// sendMessages sends each message in a buffer of its own, all with one notification. There
// are enough idle buffers, and each is large enough.
func (l *link) sendMessages(messages [][]byte) {
	l.mu.Lock()
	for _, m := range messages {
		l.openLocked()
		l.openLen = copy(l.bytes(l.open), m)
		l.closeOpenLocked()
	}
	notify := l.q.Publish()
	l.mu.Unlock()
	if notify {
		l.c.guest.Notify(l.index)
	}
}

func (l *link) openLocked() {
	last := len(l.idle) - 1
	l.open, l.openLen = l.idle[last], 0
	l.idle = l.idle[:last]
}

func (l *link) closeOpenLocked() {
	l.addLocked(l.open, l.openLen, false)
	l.open = -1
}

func (l *link) underWayLocked() int { return int(l.q.Size()) - l.q.Free() }

// settleLocked sends the collecting buffer if the device has nothing else to do. While
// something is under way, an interrupt is wanted only when bytes wait to follow it, no
// buffer is left, or somebody drains.
func (l *link) settleLocked() {
	for {
		if l.open >= 0 && l.underWayLocked() == 0 {
			l.closeOpenLocked()
		}
		if l.open < 0 && len(l.idle) > 0 && l.drains == 0 {
			l.q.DisableInterrupts()
			return
		}
		if l.underWayLocked() == 0 || !l.q.EnableInterrupts() {
			return
		}
		if l.reclaimLocked() != nil {
			return // the service goroutine meets the error again
		}
	}
}

func (l *link) reclaimLocked() error {
	for {
		head, _, ok, err := l.q.Used()
		if !ok || err != nil {
			return err
		}
		l.idle = append(l.idle, l.buffer[head])
	}
}

// reclaim takes back what the device has consumed and sends what has collected meanwhile.
// It reports whether there is room for more and whether nothing is left to consume.
func (l *link) reclaim() (room, empty bool, err error) {
	l.mu.Lock()
	err = l.reclaimLocked()
	if err == nil {
		l.settleLocked()
	}
	room = len(l.idle) > 0 || l.open >= 0
	empty = l.underWayLocked() == 0 && l.open < 0
	notify := err == nil && l.q.Publish()
	l.mu.Unlock()
	if notify {
		l.c.guest.Notify(l.index)
	}
	return room, empty, err
}

// drain counts a caller that waits for empty in or out.
func (l *link) drain(delta int) {
	l.mu.Lock()
	l.drains += delta
	l.mu.Unlock()
}
