package queue

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Errors of the driver's side.
var (
	// ErrFull: not enough free descriptors; wait for the device to use some.
	ErrFull = errors.New("virtqueue is full")
	// ErrDevice is wrapped when the device's ring says what it cannot.
	ErrDevice = errors.New("virtqueue broken by the device")
)

// Buffer is one piece of a chain that the driver offers: Len bytes at GPA Addr.
type Buffer struct {
	Addr     uint64
	Len      uint32
	Writable bool // by the device
}

// Driver is the driver's end of a virtqueue whose rings lie in a DMA region of its own.
type Driver struct {
	r    region
	gpa  uint64
	size uint16
	ev   bool

	availOff, usedOff uint64

	free     uint16 // first free descriptor; the free ones are chained through next
	numFree  uint16
	next     []uint16 // private copy of the chains: the device cannot corrupt it
	length   []uint16 // by head: descriptors in the chain in flight, 0 for none
	writable []uint32 // by head: bytes that the device may write

	nextAvail uint16 // avail.idx once published
	published uint16 // avail.idx in memory
	nextUsed  uint16 // next used entry to take
}

// RegionBytes is the size of the DMA region that NewDriver wants for a queue of size
// descriptors.
func RegionBytes(size uint16) int {
	_, used := regionOffsets(size)
	return int(used + (UsedBytes(size)+3)&^3)
}

func regionOffsets(size uint16) (avail, used uint64) {
	avail = TableBytes(size)
	// Ring areas start on 4 bytes and end in padding, so that flags+idx and the event
	// index can be accessed as whole 32-bit words that nobody else writes.
	used = (avail + AvailBytes(size) + 3) &^ 3
	return avail, used
}

// NewDriver lays a queue of size descriptors (a power of two, 2 or more) out in mem, which
// lies at GPA gpa, 16-byte aligned in both, at least RegionBytes(size) long, and is the
// queue's alone. eventIdx says that FeatureEventIdx was negotiated.
func NewDriver(mem []byte, gpa uint64, size uint16, eventIdx bool) (*Driver, error) {
	if size < 2 || !ValidSize(uint32(size), MaxSize) {
		return nil, fmt.Errorf("virtqueue of %d descriptors: want a power of two from 2 to %d", size, MaxSize)
	}
	if len(mem) < RegionBytes(size) {
		return nil, fmt.Errorf("virtqueue region has %d bytes, needs %d", len(mem), RegionBytes(size))
	}
	mem = mem[:RegionBytes(size)]
	r, err := newRegion(mem)
	if err != nil {
		return nil, err
	}
	if gpa%DescAlign != 0 {
		return nil, fmt.Errorf("virtqueue region at GPA %#x is not aligned to %d bytes", gpa, DescAlign)
	}
	clear(mem)
	q := &Driver{
		r: r, gpa: gpa, size: size, ev: eventIdx,
		numFree:  size,
		next:     make([]uint16, size),
		length:   make([]uint16, size),
		writable: make([]uint32, size),
	}
	q.availOff, q.usedOff = regionOffsets(size)
	for i := range q.next {
		q.next[i] = uint16(i) + 1
	}
	return q, nil
}

// Size is the number of descriptors; Free how many of them no chain uses.
func (q *Driver) Size() uint16 { return q.size }
func (q *Driver) Free() int    { return int(q.numFree) }

// DescAddr, AvailAddr and UsedAddr are the GPAs to program into the transport.
func (q *Driver) DescAddr() uint64  { return q.gpa }
func (q *Driver) AvailAddr() uint64 { return q.gpa + q.availOff }
func (q *Driver) UsedAddr() uint64  { return q.gpa + q.usedOff }

// Add builds a chain of bufs, readable ones first, and answers its head, which names the
// chain until Used returns it. The device sees it after Publish.
func (q *Driver) Add(bufs ...Buffer) (head uint16, err error) {
	if len(bufs) == 0 {
		return 0, errors.New("virtqueue chain of no buffers")
	}
	if len(bufs) > int(q.numFree) {
		return 0, ErrFull
	}
	var writable uint32
	for i, b := range bufs {
		if b.Len == 0 {
			return 0, errors.New("virtqueue buffer of no bytes")
		}
		if !b.Writable && i > 0 && bufs[i-1].Writable {
			return 0, errors.New("virtqueue chain has a readable buffer behind a writable one")
		}
		if b.Writable {
			writable += b.Len
		}
	}
	head = q.free
	at := head
	for i, b := range bufs {
		d := Desc{Addr: b.Addr, Len: b.Len}
		if b.Writable {
			d.Flags |= FlagWrite
		}
		if i < len(bufs)-1 {
			d.Flags |= FlagNext
			d.Next = q.next[at]
		}
		d.Put(q.r.b[uint64(at)*DescSize:])
		at = q.next[at]
	}
	q.free = at
	q.numFree -= uint16(len(bufs))
	q.length[head] = uint16(len(bufs))
	q.writable[head] = writable
	entry := q.availOff + AvailEntry(q.nextAvail&(q.size-1))
	binary.LittleEndian.PutUint16(q.r.b[entry:], head)
	q.nextAvail++
	return head, nil
}

// Publish makes the chains added since the last call visible to the device and reports
// whether it wants to be notified.
func (q *Driver) Publish() (notify bool) {
	old := q.published
	if q.nextAvail == old {
		return false
	}
	q.published = q.nextAvail
	word := q.r.word(q.availOff)
	flags := word.Load() & 0xffff
	word.Store(flags | uint32(q.nextAvail)<<16)
	if q.ev {
		return NeedEvent(uint16(q.r.word(q.usedOff+AvailEventOffset(q.size)).Load()), q.nextAvail, old)
	}
	return q.r.word(q.usedOff).Load()&UsedNoNotify == 0
}

// Used takes back the next chain that the device is done with and says how many bytes it
// wrote. ok is false when there is none.
func (q *Driver) Used() (head uint16, written uint32, ok bool, err error) {
	idx := q.usedIdx()
	n := idx - q.nextUsed
	if n == 0 {
		return 0, 0, false, nil
	}
	if n > q.size {
		return 0, 0, false, fmt.Errorf("%w: used.idx is %d, %d past %d", ErrDevice, idx, n, q.nextUsed)
	}
	entry := q.r.b[q.usedOff+UsedEntry(q.nextUsed&(q.size-1)):]
	id := binary.LittleEndian.Uint32(entry)
	written = binary.LittleEndian.Uint32(entry[4:])
	if id >= uint32(q.size) || q.length[id] == 0 {
		return 0, 0, false, fmt.Errorf("%w: used entry %d names chain %d, which is not in flight", ErrDevice, q.nextUsed, id)
	}
	head = uint16(id)
	if written > q.writable[head] {
		return 0, 0, false, fmt.Errorf("%w: chain %d: %d bytes written to %d", ErrDevice, head, written, q.writable[head])
	}
	last := head
	for range q.length[head] - 1 {
		last = q.next[last]
	}
	q.next[last] = q.free
	q.free = head
	q.numFree += q.length[head]
	q.length[head] = 0
	q.nextUsed++
	return head, written, true, nil
}

func (q *Driver) usedIdx() uint16 { return uint16(q.r.word(q.usedOff).Load() >> 16) }

// DisableInterrupts says that the driver looks by itself. Without FeatureEventIdx it is
// only a hint.
func (q *Driver) DisableInterrupts() {
	if q.ev {
		// An event index just behind the next entry is passed only after a full wrap.
		q.r.word(q.availOff + UsedEventOffset(q.size)).Store(uint32(q.nextUsed - 1))
		return
	}
	word := q.r.word(q.availOff)
	word.Store(word.Load() | AvailNoInterrupt)
}

// EnableInterrupts asks for an interrupt at the next used chain and reports whether one
// is there already; then no interrupt may come and the driver must look again.
func (q *Driver) EnableInterrupts() (waiting bool) {
	if q.ev {
		q.r.word(q.availOff + UsedEventOffset(q.size)).Store(uint32(q.nextUsed))
	} else {
		word := q.r.word(q.availOff)
		word.Store(word.Load() &^ AvailNoInterrupt)
	}
	return q.usedIdx() != q.nextUsed
}
