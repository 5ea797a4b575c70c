package machine

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"unsafe"
)

// Update replaces the n bytes (at most 8) at gpa, which lie in one aligned doubleword, by what f makes of them, as one sequentially
// consistent access: nobody who writes there by atomic accesses or single stores, guest or device, is lost. f may be called several times; old and new are of
// the last. The observer is not told: for instructions that the debugger carries out in the guest's place.
//
// Sound because slots begin and end on page boundaries and views are page aligned: the doubleword around any byte of RAM lies
// in the same view, aligned.
func (m *Memory) Update(gpa uint64, n int, f func(old uint64) uint64) (was, is uint64, err error) {
	if n <= 0 || gpa&7+uint64(n) > 8 {
		return 0, 0, fmt.Errorf("GPA %#x, %d bytes, atomic access: not in one doubleword", gpa, n)
	}
	b, err := m.writable(gpa&^7, 8)
	if err != nil {
		return 0, 0, err
	}
	w := (*atomic.Uint64)(unsafe.Pointer(unsafe.SliceData(b)))
	shift := gpa & 7 * 8
	mask := ^uint64(0) >> (64 - 8*n)
	for range maxWordAttempts {
		all := w.Load()
		was = all >> shift & mask
		is = f(was) & mask
		if w.CompareAndSwap(all, all&^(mask<<shift)|is<<shift) {
			return was, is, nil
		}
	}
	return 0, 0, fmt.Errorf("GPA %#x, atomic access: somebody overwrites it without pause", gpa)
}

// Store writes p at gpa as an instruction would: what one access of the processor writes at once is written at once. The observer
// is not told.
//
// Sound because the stores lie in the bytes that m.writable has checked; both architectures store to any address.
func (m *Memory) Store(gpa uint64, p []byte) error {
	b, err := m.writable(gpa, uint64(len(p)))
	if err != nil {
		return err
	}
	if n := len(p); gpa&7+uint64(n) > 8 && (n == 2 || n == 4 || n == 8) { // not aligned: one store is the best there is
		at := unsafe.Pointer(unsafe.SliceData(b))
		switch n {
		case 2:
			*(*uint16)(at) = binary.NativeEndian.Uint16(p)
		case 4:
			*(*uint32)(at) = binary.NativeEndian.Uint32(p)
		default:
			*(*uint64)(at) = binary.NativeEndian.Uint64(p)
		}
		return nil
	}
	for len(p) > 0 {
		n := min(len(p), 8-int(gpa&7))
		var word [8]byte
		copy(word[:], p[:n])
		v := binary.LittleEndian.Uint64(word[:])
		if _, _, err := m.Update(gpa, n, func(uint64) uint64 { return v }); err != nil {
			return err
		}
		gpa, p = gpa+uint64(n), p[n:]
	}
	return nil
}
