package machine

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mapping is memory that only KVM uses: an address that cannot be indexed by accident.
type mapping struct {
	p    unsafe.Pointer
	size uintptr
}

const mapFlags = unix.MAP_SHARED | unix.MAP_NORESERVE

func mapView(fd int, offset, size uint64) ([]byte, error) {
	b, err := unix.Mmap(fd, int64(offset), int(size), unix.PROT_READ|unix.PROT_WRITE, mapFlags)
	if err != nil {
		return nil, err
	}
	// Huge pages, where the host allows them for shared memory, save a fault in three page
	// tables for each 4 KiB; where it does not, this is refused and changes nothing.
	_ = unix.Madvise(b, unix.MADV_HUGEPAGE)
	return b, nil
}

func mapForKVM(fd int, offset, size uint64) (mapping, error) {
	p, err := unix.MmapPtr(fd, int64(offset), nil, uintptr(size), unix.PROT_READ|unix.PROT_WRITE, mapFlags)
	if err != nil {
		return mapping{}, err
	}
	_ = unix.Madvise(unsafe.Slice((*byte)(p), size), unix.MADV_HUGEPAGE) // see mapView
	return mapping{p, uintptr(size)}, nil
}

// mapOver replaces both views of RAM at gpa by a mapping of a file.
//
// Sound because the range lies in the slot, so nothing but its views is replaced, and the
// addresses stay mapped at any moment.
func (s *slot) mapOver(gpa, size uint64, fd int, offset int64, prot, flags int) error {
	for _, view := range []unsafe.Pointer{unsafe.Pointer(unsafe.SliceData(s.view)), s.kvm.p} {
		at := unsafe.Add(view, gpa-s.Base)
		if _, err := unix.MmapPtr(fd, offset, at, uintptr(size), prot, flags|unix.MAP_FIXED); err != nil {
			return fmt.Errorf("map a file over RAM at %#x, %#x bytes: %w", gpa, size, err)
		}
	}
	return nil
}

func (m *mapping) unmap() error {
	if m.p == nil {
		return nil
	}
	err := unix.MunmapPtr(m.p, m.size)
	m.p = nil
	return err
}

// protect changes what KVM may do with size bytes at gpa, whole pages of the slot.
//
// Sound because the range lies in the mapping and the slice is only an argument: nothing in Go looks at
// what it shows.
func (s *slot) protect(gpa, size uint64, prot int) error {
	return unix.Mprotect(unsafe.Slice((*byte)(unsafe.Add(s.kvm.p, gpa-s.Base)), size), prot)
}

// hva is the address KVM is given.
func (m mapping) hva() uintptr { return uintptr(m.p) }

// viewAddress is where the monitor's view begins, as a number.
func (s *slot) viewAddress() uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(s.view))) }

// maxWordAttempts bounds WriteUint16 against a guest that stores to the neighbouring half
// without pause; each attempt fails only if such a store hits it.
const maxWordAttempts = 1 << 20

// word is the aligned 32-bit word that holds the two bytes at gpa, and their shift in it.
//
// Sound because slots start and end on page boundaries and views are page aligned: the
// word around any RAM byte lies in the same view, aligned. atomic operations need no more.
func (m *Memory) word(gpa uint64) (*atomic.Uint32, uint, error) {
	if gpa%2 != 0 {
		return nil, 0, fmt.Errorf("GPA %#x, atomic access: odd address", gpa)
	}
	b, err := m.bytes(gpa&^3, 4)
	if err != nil {
		return nil, 0, err
	}
	return (*atomic.Uint32)(unsafe.Pointer(unsafe.SliceData(b))), uint(gpa&2) * 8, nil
}

// ReadUint16 reads two bytes at an even gpa as one sequentially consistent access.
func (m *Memory) ReadUint16(gpa uint64, src Source) (uint16, error) {
	w, shift, err := m.word(gpa)
	if err != nil {
		return 0, err
	}
	m.tell(gpa, 2, false, nil, src)
	return uint16(w.Load() >> shift), nil
}

// WriteUint16 writes two bytes at an even gpa as one sequentially consistent access; the
// other half of the word keeps what the guest stores there at the same time.
func (m *Memory) WriteUint16(gpa uint64, v uint16, src Source) error {
	w, shift, err := m.word(gpa)
	if err == nil {
		err = m.ownFor(gpa, 2)
	}
	if err != nil {
		return err
	}
	m.tell(gpa, 2, true, []byte{byte(v), byte(v >> 8)}, src)
	for range maxWordAttempts {
		old := w.Load()
		if w.CompareAndSwap(old, old&^(0xffff<<shift)|uint32(v)<<shift) {
			return nil
		}
	}
	return fmt.Errorf("GPA %#x, atomic access: the guest overwrites it without pause", gpa)
}
