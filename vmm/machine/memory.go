package machine

import (
	"errors"
	"fmt"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"ringo/virtio/queue"
)

// Source labels who touches guest memory; see queue.Source.
type Source = queue.Source

// Access is one access to guest memory by the monitor, as an Observer sees it.
type Access struct {
	GPA   uint64
	Size  int
	Write bool
	// Data is what is about to be written, valid during the call; nil for reads and for
	// a Slice, whose holder writes later.
	Data []byte
	Source
}

// An Observer is told of each access of the monitor before it happens, so that it can read
// the old bytes. It runs on the goroutine that makes the access, must be quick, and may use
// Peek but not the other methods of Memory.
type Observer func(Access)

// ErrNotRAM is wrapped by every error of Memory: the range is not guest RAM.
var ErrNotRAM = errors.New("not guest RAM")

// Range is a run of guest-physical memory, bytes.
type Range struct{ Base, Size uint64 }

// slot is one KVM memory slot: a part of the memfd mapped twice.
type slot struct {
	Range
	offset int64   // in the memfd
	view   []byte  // the monitor's view
	kvm    mapping // the view KVM maps into the guest; its pages may be protected for tracing
}

// Memory is guest RAM: one memfd, each slot of it mapped once for KVM and once for the monitor.
// Everything the monitor does to guest memory goes through here with a Source. It implements
// queue.Memory. All methods are safe for concurrent use until Close.
//
// The guest may change RAM at any time: callers copy, validate the copy, and never look twice.
type Memory struct {
	fd       int
	slots    []slot // by Base
	observer atomic.Pointer[Observer]
	sharing  sharing
}

// NewMemory allocates RAM in the given ranges, which are page aligned, ordered and disjoint.
// Pages take host memory only once touched.
func NewMemory(ranges []Range) (*Memory, error) {
	var total uint64
	for _, r := range ranges {
		total += r.Size
	}
	fd, err := unix.MemfdCreate("ringo-guest-ram", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd_create for guest RAM: %w", err)
	}
	m := &Memory{fd: fd}
	if err := unix.Ftruncate(fd, int64(total)); err != nil {
		m.Close()
		return nil, fmt.Errorf("reserve %d MiB of guest RAM: %w", total>>20, err)
	}
	var offset uint64
	for _, r := range ranges {
		s := slot{Range: r, offset: int64(offset)}
		if s.view, err = mapView(fd, offset, r.Size); err == nil {
			s.kvm, err = mapForKVM(fd, offset, r.Size)
		}
		m.slots = append(m.slots, s)
		if err != nil {
			m.Close()
			return nil, fmt.Errorf("map %d MiB of guest RAM: %w", r.Size>>20, err)
		}
		offset += r.Size
	}
	return m, nil
}

// Close unmaps everything. No vCPU may run and no device goroutine may be left.
func (m *Memory) Close() error {
	var errs []error
	for i := range m.slots {
		s := &m.slots[i]
		if s.view != nil {
			errs = append(errs, unix.Munmap(s.view))
		}
		errs = append(errs, s.kvm.unmap())
	}
	m.slots = nil
	if m.fd >= 0 {
		errs = append(errs, unix.Close(m.fd))
		m.fd = -1
	}
	return errors.Join(errs...)
}

// Ranges are the RAM ranges in order.
func (m *Memory) Ranges() []Range {
	out := make([]Range, len(m.slots))
	for i, s := range m.slots {
		out[i] = s.Range
	}
	return out
}

// View is an address range of this process that shows RAM from GPA on.
type View struct {
	Start, End uintptr
	GPA        uint64
}

// Views are the address ranges that show RAM, two for each range of it: for who looks at this
// process' own maps.
func (m *Memory) Views() []View {
	var out []View
	for i := range m.slots {
		s := &m.slots[i]
		for _, start := range []uintptr{s.viewAddress(), s.kvm.hva()} {
			out = append(out, View{start, start + uintptr(s.Size), s.Base})
		}
	}
	return out
}

// Observe installs o (nil: none) and returns the one before.
func (m *Memory) Observe(o Observer) Observer {
	var p *Observer
	if o != nil {
		p = &o
	}
	if old := m.observer.Swap(p); old != nil {
		return *old
	}
	return nil
}

// bytes is the one place where a GPA becomes an index.
func (m *Memory) bytes(gpa, size uint64) ([]byte, error) {
	for i := range m.slots {
		s := &m.slots[i]
		if off := gpa - s.Base; gpa >= s.Base && off <= s.Size && size <= s.Size-off {
			return s.view[off : off+size : off+size], nil
		}
	}
	return nil, fmt.Errorf("GPA %#x, %d bytes: %w", gpa, size, ErrNotRAM)
}

// writable is bytes for a caller who is going to write.
func (m *Memory) writable(gpa, size uint64) ([]byte, error) {
	b, err := m.bytes(gpa, size)
	if err == nil {
		err = m.ownFor(gpa, size)
	}
	return b, err
}

func (m *Memory) tell(gpa uint64, n int, write bool, data []byte, src Source) {
	if o := m.observer.Load(); o != nil {
		(*o)(Access{GPA: gpa, Size: n, Write: write, Data: data, Source: src})
	}
}

// Check reports whether size bytes at gpa are RAM of one slot. Size 0 is always fine.
func (m *Memory) Check(gpa, size uint64) error {
	if size == 0 {
		return nil
	}
	_, err := m.bytes(gpa, size)
	return err
}

// ReadAt copies len(p) bytes at gpa into p.
func (m *Memory) ReadAt(gpa uint64, p []byte, src Source) error {
	if len(p) == 0 {
		return nil
	}
	b, err := m.bytes(gpa, uint64(len(p)))
	if err != nil {
		return err
	}
	m.tell(gpa, len(p), false, nil, src)
	copy(p, b)
	return nil
}

// WriteAt copies p to gpa.
func (m *Memory) WriteAt(gpa uint64, p []byte, src Source) error {
	if len(p) == 0 {
		return nil
	}
	b, err := m.writable(gpa, uint64(len(p)))
	if err != nil {
		return err
	}
	m.tell(gpa, len(p), true, p, src)
	copy(b, p)
	return nil
}

// Zero clears size bytes at gpa. Whole pages are given back to the host and read as zeroes, so
// clearing what was never touched costs nothing.
func (m *Memory) Zero(gpa, size uint64, src Source) error {
	if size == 0 {
		return nil
	}
	b, err := m.writable(gpa, size)
	if err != nil {
		return err
	}
	m.tell(gpa, len(b), true, nil, src)
	first, last := (gpa+pageSize-1)&^(pageSize-1), (gpa+size)&^(pageSize-1)
	if first >= last {
		clear(b)
		return nil
	}
	clear(b[:first-gpa])
	clear(b[last-gpa:])
	s := m.slotOf(gpa)
	if err := unix.Fallocate(m.fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, s.offset+int64(first-s.Base), int64(last-first)); err != nil {
		return fmt.Errorf("clear %#x bytes of guest RAM at %#x: %w", last-first, first, err)
	}
	return nil
}

const pageSize = 4096

// slotOf is the slot that holds gpa, which is known to be RAM.
func (m *Memory) slotOf(gpa uint64) *slot {
	i := 0
	for gpa-m.slots[i].Base >= m.slots[i].Size {
		i++
	}
	return &m.slots[i]
}

// Slice is the monitor's view of size bytes at gpa, for bulk transfer by one system call
// (preadv into a block request, an initramfs). The caller does not keep it beyond the request
// and, as the guest may change it at any time, does not decide anything on what it reads.
func (m *Memory) Slice(gpa, size uint64, write bool, src Source) ([]byte, error) {
	get := m.bytes
	if write {
		get = m.writable
	}
	b, err := get(gpa, size)
	if err != nil {
		return nil, err
	}
	m.tell(gpa, len(b), write, nil, src)
	return b, nil
}

// Poke writes without telling the observer: for what the debugger's user changes. All of the range
// is RAM, or nothing is written.
func (m *Memory) Poke(gpa uint64, p []byte) error {
	b, err := m.writable(gpa, uint64(len(p)))
	if err != nil {
		return err
	}
	copy(b, p)
	return nil
}

// Peek reads without telling the observer: for the debugger's own looks. It copies what is
// RAM at the start of the range and returns how much that was.
func (m *Memory) Peek(gpa uint64, p []byte) int {
	for i := range m.slots {
		s := &m.slots[i]
		if gpa >= s.Base && gpa-s.Base < s.Size {
			return copy(p, s.view[gpa-s.Base:])
		}
	}
	return 0
}
