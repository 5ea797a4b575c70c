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

// Position says how far each ring has been read. The zero value is the beginning.
type Position [MaxCPUs]uint64

// Last are the last n events of each CPU, in order: what can be read while the guest waits.
func (w *Window) Last(n uint64) (events []Event) {
	for ring := range w.Header.CPUs {
		end, _ := w.taken(ring)
		events, _ = w.read(events, ring, end-min(n, uint64(w.Header.Slots), end), end)
	}
	sort(events)
	return events
}

// Events are the events from a position on, in order, and the position behind them. Lost counts all that was before too.
func (w *Window) Events(from Position) (events []Event, to Position, lost Lost) {
	for ring := range w.Header.CPUs {
		end, ok := w.taken(ring)
		if !ok {
			continue
		}
		n := min(end, uint64(w.Header.Slots))
		lost.Overwritten += end - n
		at := max(from[ring], end-n)
		var torn uint64
		events, torn = w.read(events, ring, min(at, end), end)
		lost.Torn += torn
		to[ring] = end
	}
	sort(events)
	return events, to, lost
}

// taken is how many slots of a ring have been taken so far.
func (w *Window) taken(ring uint32) (n uint64, ok bool) {
	var next [8]byte
	ok = w.mem.Peek(w.ring(ring), next[:]) == len(next)
	return binary.LittleEndian.Uint64(next[:]), ok
}

// ring is the address of a ring.
func (w *Window) ring(ring uint32) uint64 {
	return w.base + uint64(w.Header.RingOffset) + uint64(ring)*uint64(w.Header.RingStride)
}

// read appends the events of slots [at, end) of a ring, at most as many as it has. Their times do not go backwards: an event without one, or one
// whose writer was interrupted before it had a slot, gets that of the event before it.
func (w *Window) read(events []Event, ring uint32, at, end uint64) (_ []Event, torn uint64) {
	slots, first := uint64(w.Header.Slots), len(events)
	buf := make([]byte, min(end-at, slots)*EventSize)
	for at < end {
		i := at & (slots - 1)
		n := min(end-at, slots-i)
		got := w.mem.Peek(w.ring(ring)+ringHeader+i*EventSize, buf[:n*EventSize])
		for i := range n {
			if (i+1)*EventSize > uint64(got) {
				torn += n - i
				break
			}
			r := overlay[record](buf[i*EventSize : (i+1)*EventSize])
			if Kind(r.Head) == None || uint32(r.Tail>>32) != r.check(at+i) {
				torn++
				continue
			}
			events = append(events, Event{Slot: at + i, Time: r.Time, Ring: uint8(ring), Kind: Kind(r.Head), CPU: uint8(r.Head >> 8), Code: uint16(r.Head >> 16),
				Task: uint32(r.Head >> 32), Args: [6]uint64{r.Args[0], r.Args[1], r.Args[2], r.Args[3], r.Args[4], r.Tail & 0xffff_ffff}})
		}
		at += n
	}
	setTimes(events[first:])
	return events, torn
}

// setTimes makes the times of one ring's events a sequence. The ones at the beginning that have none get that of the first that has.
func setTimes(events []Event) {
	var last uint64
	for i := range events {
		if last = events[i].Time; last != 0 {
			break
		}
	}
	for i := range events {
		last = max(last, events[i].Time)
		events[i].Time = last
	}
}

// sort puts events into the order of time, those of one moment in a ring's own order.
func sort(events []Event) {
	slices.SortFunc(events, func(a, b Event) int {
		return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(a.Ring, b.Ring), cmp.Compare(a.Slot, b.Slot))
	})
	for i := range events {
		events[i].Seq = uint64(i) + 1
	}
}
