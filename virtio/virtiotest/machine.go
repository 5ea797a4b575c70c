package virtiotest

import (
	"encoding/binary"
	"sync/atomic"

	"ringo/virtio/mmio"
)

// Line is an interrupt line: edges collapse into one pending wake-up, as they do at an
// interrupt controller whose CPU has not looked yet.
type Line struct {
	c     chan struct{}
	stop  chan struct{}
	count atomic.Int64
}

// NewLine is a line nobody has triggered.
func NewLine() *Line {
	return &Line{c: make(chan struct{}, 1), stop: make(chan struct{})}
}

// Trigger is the device's edge.
func (l *Line) Trigger() {
	l.count.Add(1)
	select {
	case l.c <- struct{}{}:
	default:
	}
}

// Count is how many edges there were.
func (l *Line) Count() int64 { return l.count.Load() }

// C carries a value after edges, for tests that wait for one.
func (l *Line) C() <-chan struct{} { return l.c }

// Wait waits for an edge since the last call; false after Stop.
func (l *Line) Wait() bool {
	select {
	case <-l.c:
		return true
	case <-l.stop:
		return false
	}
}

// Stop ends all Waits.
func (l *Line) Stop() { close(l.stop) }

// Window is a transport as the guest sees it. It counts accesses: exits, on a real machine.
type Window struct {
	T        *mmio.Transport
	Reads    atomic.Int64
	Writes   atomic.Int64
	Notifies atomic.Int64
}

// Read32 and Write32 implement mmio.Registers.
func (w *Window) Read32(off uint32) uint32 {
	w.Reads.Add(1)
	var b [4]byte
	w.T.Read(uint64(off), b[:])
	return binary.LittleEndian.Uint32(b[:])
}

func (w *Window) Write32(off, v uint32) {
	w.Writes.Add(1)
	if off == mmio.RegQueueNotify {
		w.Notifies.Add(1)
	}
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], v)
	w.T.Write(uint64(off), b[:])
}
