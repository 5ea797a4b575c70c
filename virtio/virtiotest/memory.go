// Package virtiotest is what device tests share: a fake guest memory, a virtqueue driver
// with typed handles that can lie in every way, and a plain-memory wiring of a device's
// transport to a real driver. Only tests import it.
package virtiotest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"ringo/virtio/queue"
)

// ErrNotRAM is what Memory answers for addresses that are no RAM.
var ErrNotRAM = errors.New("not RAM")

// The layout of every Memory: two slots with a hole between them, and nothing from End up.
const (
	LowSize  = 2 << 20
	HoleBase = LowSize
	HighBase = 4 << 20
	HighSize = 64 << 10
	End      = HighBase + HighSize
)

// Memory is guest RAM in host memory. OnRead lets tests watch what is read, so that they can
// assert that nothing is read twice.
type Memory struct {
	low, high []byte

	next atomic.Uint64 // allocator: next free GPA

	mu     sync.Mutex
	onRead func(gpa uint64, n int)
}

// NewMemory is zeroed RAM. GPA 0 to 64 KiB is never handed out by Alloc.
func NewMemory() *Memory {
	m := &Memory{low: aligned(LowSize), high: aligned(HighSize)}
	m.next.Store(64 << 10)
	return m
}

// aligned makes page-aligned memory: ring words are accessed atomically.
func aligned(n int) []byte {
	b := make([]byte, n+4095)
	off := -int(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) & 4095
	return b[off : off+n : off+n]
}

// Alloc hands out n bytes, page aligned, as memory and GPA.
func (m *Memory) Alloc(n int) ([]byte, uint64, error) {
	size := (uint64(n) + 4095) &^ 4095
	gpa := m.next.Add(size) - size
	if gpa+size > LowSize {
		return nil, 0, errors.New("virtiotest: out of guest memory")
	}
	return m.low[gpa : gpa+uint64(n) : gpa+size], gpa, nil
}

// OnRead sets a function called before each ReadAt.
func (m *Memory) OnRead(f func(gpa uint64, n int)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.onRead = f
}

// Bytes is the memory itself.
func (m *Memory) Bytes(gpa, size uint64) ([]byte, error) {
	switch {
	case gpa <= LowSize && size <= LowSize-gpa:
		return m.low[gpa : gpa+size], nil
	case gpa >= HighBase && gpa <= End && size <= End-gpa:
		return m.high[gpa-HighBase : gpa-HighBase+size], nil
	case size == 0:
		return nil, nil
	}
	return nil, fmt.Errorf("%d bytes at %#x: %w", size, gpa, ErrNotRAM)
}

// Check, ReadAt, WriteAt, ReadUint16 and WriteUint16 implement queue.Memory.
func (m *Memory) Check(gpa, size uint64) error {
	_, err := m.Bytes(gpa, size)
	return err
}

func (m *Memory) ReadAt(gpa uint64, p []byte, _ queue.Source) error {
	m.mu.Lock()
	f := m.onRead
	m.mu.Unlock()
	if f != nil {
		f(gpa, len(p))
	}
	b, err := m.Bytes(gpa, uint64(len(p)))
	copy(p, b)
	return err
}

func (m *Memory) WriteAt(gpa uint64, p []byte, _ queue.Source) error {
	b, err := m.Bytes(gpa, uint64(len(p)))
	copy(b, p)
	return err
}

func (m *Memory) ReadUint16(gpa uint64, _ queue.Source) (uint16, error) {
	word, shift, err := m.word(gpa)
	if err != nil {
		return 0, err
	}
	return uint16(word.Load() >> shift), nil
}

func (m *Memory) WriteUint16(gpa uint64, v uint16, _ queue.Source) error {
	word, shift, err := m.word(gpa)
	if err != nil {
		return err
	}
	for {
		old := word.Load()
		if word.CompareAndSwap(old, old&^(0xffff<<shift)|uint32(v)<<shift) {
			return nil
		}
	}
}

// word is the aligned 32-bit word around an even gpa; slots are page aligned, so it lies
// in RAM when gpa does.
func (m *Memory) word(gpa uint64) (*atomic.Uint32, uint, error) {
	if gpa%2 != 0 {
		return nil, 0, fmt.Errorf("16-bit access at odd address %#x", gpa)
	}
	b, err := m.Bytes(gpa&^3, 4)
	if err != nil {
		return nil, 0, err
	}
	return (*atomic.Uint32)(unsafe.Pointer(&b[0])), uint(gpa&2) * 8, nil
}

// Typed places in guest memory.
type (
	Handle16 struct {
		m   *Memory
		gpa uint64
	}
	// Plain16 is a place that is not accessed atomically: a ring entry, which the other
	// side leaves alone until an index has been published.
	Plain16  Handle16
	Handle32 Handle16
)

// Set and Get access the place; tests place handles in RAM, so failure panics.
func (h Handle16) Set(v uint16) { must(h.m.WriteUint16(h.gpa, v, queue.Source{})) }
func (h Handle16) Get() uint16 {
	v, err := h.m.ReadUint16(h.gpa, queue.Source{})
	must(err)
	return v
}
func (h Plain16) Set(v uint16) {
	b, err := h.m.Bytes(h.gpa, 2)
	must(err)
	binary.LittleEndian.PutUint16(b, v)
}

func (h Handle32) Get() uint32 {
	b, err := h.m.Bytes(h.gpa, 4)
	must(err)
	return binary.LittleEndian.Uint32(b)
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// DescHandle is a descriptor in guest memory.
type DescHandle struct {
	m   *Memory
	gpa uint64
}

// Set writes all four fields.
func (h DescHandle) Set(addr uint64, length uint32, flags, next uint16) {
	b, err := h.m.Bytes(h.gpa, queue.DescSize)
	must(err)
	queue.Desc{Addr: addr, Len: length, Flags: flags, Next: next}.Put(b)
}

// UsedElem is an entry of the used ring.
type UsedElem struct{ ID, Len Handle32 }

// Ring is a virtqueue laid out by hand, with a handle for every field.
type Ring struct {
	Size              uint16
	Desc, Avail, Used uint64 // GPA

	Table      []DescHandle
	AvailFlags Handle16
	AvailIdx   Handle16
	AvailRing  []Plain16
	UsedEvent  Handle16
	UsedFlags  Handle16
	UsedIdx    Handle16
	UsedRing   []UsedElem
	AvailEvent Handle16

	m *Memory
}

// NewRing lays a queue of size descriptors out in m.
func NewRing(t testing.TB, m *Memory, size uint16) *Ring {
	t.Helper()
	alloc := func(n uint64) uint64 {
		_, gpa, err := m.Alloc(int(n))
		if err != nil {
			t.Fatal(err)
		}
		return gpa
	}
	return RingAt(m, size, alloc(queue.TableBytes(size)), alloc(queue.AvailBytes(size)), alloc(queue.UsedBytes(size)))
}

// RingAt is a queue whose areas lie at the given GPAs, all in RAM.
func RingAt(m *Memory, size uint16, desc, avail, used uint64) *Ring {
	h16 := func(gpa uint64) Handle16 { return Handle16{m, gpa} }
	r := &Ring{
		Size: size, Desc: desc, Avail: avail, Used: used, m: m,
		Table:      Table(m, desc, int(size)),
		AvailFlags: h16(avail), AvailIdx: h16(avail + 2), UsedEvent: h16(avail + queue.UsedEventOffset(size)),
		UsedFlags: h16(used), UsedIdx: h16(used + 2), AvailEvent: h16(used + queue.AvailEventOffset(size)),
	}
	for i := range size {
		r.AvailRing = append(r.AvailRing, Plain16(h16(avail+queue.AvailEntry(i))))
		entry := used + queue.UsedEntry(i)
		r.UsedRing = append(r.UsedRing, UsedElem{Handle32{m, entry}, Handle32{m, entry + 4}})
	}
	return r
}

// Table is n descriptor handles at gpa: the queue's own table or an indirect one.
func Table(m *Memory, gpa uint64, n int) []DescHandle {
	t := make([]DescHandle, n)
	for i := range t {
		t[i] = DescHandle{m, gpa + uint64(i)*queue.DescSize}
	}
	return t
}

// Config is what a driver would program for the ring.
func (r *Ring) Config() queue.Config {
	return queue.Config{Size: r.Size, Desc: r.Desc, Avail: r.Avail, Used: r.Used, Device: "test"}
}

// Offer puts heads into the available ring and publishes them.
func (r *Ring) Offer(heads ...uint16) {
	idx := r.AvailIdx.Get()
	for _, h := range heads {
		r.AvailRing[idx%r.Size].Set(h)
		idx++
	}
	r.AvailIdx.Set(idx)
}

// Set writes an entry as a device would, or as it would lie.
func (u UsedElem) Set(id, length uint32) {
	for h, v := range map[Handle32]uint32{u.ID: id, u.Len: length} {
		b, err := h.m.Bytes(h.gpa, 4)
		must(err)
		binary.LittleEndian.PutUint32(b, v)
	}
}
