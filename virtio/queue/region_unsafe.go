package queue

import (
	"errors"
	"sync/atomic"
	"unsafe"
)

// region is the memory of a driver's rings, of which some 32-bit words are also accessed
// atomically because the device reads or writes them at the same time.
type region struct{ b []byte }

func newRegion(b []byte) (region, error) {
	if uintptr(unsafe.Pointer(unsafe.SliceData(b)))%DescAlign != 0 {
		return region{}, errors.New("virtqueue region is not aligned to 16 bytes")
	}
	return region{b}, nil
}

// word is the 32-bit word at off.
//
// Sound because off comes from the layout of a validated size only: a multiple of 4 (the
// ring areas start on 4 bytes, an event index lies behind an even number of entries) whose
// four bytes the region holds (RegionBytes pads both rings); the index expression checks
// it once more. The slice keeps the memory alive.
func (r region) word(off uint64) *atomic.Uint32 {
	return (*atomic.Uint32)(unsafe.Pointer(&r.b[off : off+4 : off+4][0]))
}
