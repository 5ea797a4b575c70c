package tracewindow

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"unsafe" // for sizes
)

// Memory is guest-physical memory: Peek copies what is RAM at the start of the range and answers how much that was.
type Memory interface {
	Peek(gpa uint64, p []byte) int
}

// Errors of Open.
var (
	// ErrAbsent: the machine has no trace window, or the kernel does not trace (debug=htrace).
	ErrAbsent = errors.New("no trace")
	// ErrCorrupt: what the header says cannot be.
	ErrCorrupt = errors.New("trace is corrupt")
)

// Window is the reader's view. Its methods may be called while the guest runs, by one goroutine at a time.
type Window struct {
	mem    Memory
	base   uint64
	Header Header
}

// Open checks the window at an address.
func Open(mem Memory, base, size uint64) (*Window, error) {
	if size == 0 {
		return nil, ErrAbsent
	}
	raw := make([]byte, HeaderSize)
	if n := mem.Peek(base, raw); n < len(raw) {
		return nil, fmt.Errorf("%w: %d of %d bytes of its header exist", ErrCorrupt, n, len(raw))
	}
	h := overlay[Header](raw[:unsafe.Sizeof(Header{})])
	switch {
	case h.Magic == 0:
		return nil, fmt.Errorf("%w: the kernel does not write one; --append debug=htrace makes it", ErrAbsent)
	case h.Magic != Magic || h.Version != Version:
		return nil, fmt.Errorf("%w: magic %#x, version %d; want %#x, %d", ErrCorrupt, h.Magic, h.Version, uint64(Magic), Version)
	case h.Size > size || h.CPUs == 0 || h.CPUs > MaxCPUs || h.Slots == 0 || h.Slots&(h.Slots-1) != 0 || h.RingOffset < HeaderSize ||
		uint64(h.RingStride) < ringHeader+uint64(h.Slots)*EventSize || uint64(h.RingOffset)+uint64(h.CPUs)*uint64(h.RingStride) > h.Size:
		return nil, fmt.Errorf("%w: %d rings of %d events, stride %#x, at %#x in %#x bytes of %#x", ErrCorrupt, h.CPUs, h.Slots, h.RingStride, h.RingOffset, h.Size, size)
	}
	return &Window{mem: mem, base: base, Header: h}, nil
}

// Lost counts what is not among the events that were read.
type Lost struct {
	Overwritten uint64 // the rings went round
	Torn        uint64 // half written, or overwritten while being read
}

// Last are the last n events of each CPU, in order: what can be read while the guest waits.
func (w *Window) Last(n uint64) (events []Event) {
	h := &w.Header
	n = min(n, uint64(h.Slots))
	buf := make([]byte, EventSize)
	for cpu := range uint64(h.CPUs) {
		at := w.base + uint64(h.RingOffset) + cpu*uint64(h.RingStride)
		var next [8]byte
		if w.mem.Peek(at, next[:]) < len(next) {
			continue
		}
		end := binary.LittleEndian.Uint64(next[:])
		for slot := end - min(n, end); slot < end; slot++ {
			i := slot & uint64(h.Slots-1)
			if w.mem.Peek(at+ringHeader+i*EventSize, buf) < len(buf) {
				break
			}
			if e := overlay[Event](buf); e.valid(i, uint64(h.Slots)) {
				events = append(events, e)
			}
		}
	}
	slices.SortFunc(events, func(a, b Event) int { return cmp.Compare(a.Seq, b.Seq) })
	return events
}

// Events are the events with numbers above since (0: all), in order.
func (w *Window) Events(since uint64) (events []Event, lost Lost) {
	h := &w.Header
	buf := make([]byte, int(h.Slots)*EventSize)
	for cpu := range uint64(h.CPUs) {
		at := w.base + uint64(h.RingOffset) + cpu*uint64(h.RingStride)
		var next [8]byte
		if w.mem.Peek(at, next[:]) < len(next) {
			continue
		}
		end := binary.LittleEndian.Uint64(next[:])
		n := min(end, uint64(h.Slots))
		lost.Overwritten += end - n
		got := w.mem.Peek(at+ringHeader, buf[:n*EventSize])
		for i := range n {
			off := i * EventSize
			if off+EventSize > uint64(got) {
				lost.Torn += n - i
				break
			}
			e := overlay[Event](buf[off : off+EventSize])
			if !e.valid(i, uint64(h.Slots)) {
				lost.Torn++
				continue
			}
			if e.Seq > since {
				events = append(events, e)
			}
		}
	}
	slices.SortFunc(events, func(a, b Event) int { return cmp.Compare(a.Seq, b.Seq) })
	return events, lost
}

func (e *Event) valid(index, slots uint64) bool {
	head := uint64(e.Kind) | uint64(e.CPU)<<8 | uint64(e.Code)<<16 | uint64(e.Task)<<32
	return e.Seq != 0 && uint64(e.Slot)&(slots-1) == index &&
		e.Check == check(e.Seq, e.Time, head, e.Args[0], e.Args[1], e.Args[2], e.Args[3], e.Args[4], e.Args[5], e.Slot)
}
