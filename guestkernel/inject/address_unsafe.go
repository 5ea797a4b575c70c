package inject

import (
	"unsafe"

	"ringo/guestkernel/nucleus"
)

// address is the GVA of a frame in the direct map.
func address(phys uint64) uint64 {
	return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(nucleus.Bytes(phys, 1)))))
}

// at is a pointer to memory outside the Go heap: frames in the direct map that the plant owns, or, where that is the bug,
// somebody else's.
func at[T any](addr uint64) *T { return (*T)(*(*unsafe.Pointer)(unsafe.Pointer(&addr))) }

// addressOf is the address of a variable that is not on a stack and not on the Go heap.
func addressOf[T any](p *T) uint64 { return uint64(uintptr(unsafe.Pointer(p))) }
