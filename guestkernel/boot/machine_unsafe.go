package boot

import (
	"unsafe"

	"ringo/guestkernel/mm"
	"ringo/guestkernel/nucleus"
)

// tablePage is a page table as entries. Sound because the direct map covers every frame for as long as the
// kernel runs and the frame is page aligned.
func tablePage(gpa uint64) *[512]uint64 {
	return (*[512]uint64)(unsafe.Pointer(&nucleus.Bytes(gpa, mm.PageSize)[0]))
}

// directMap is the kernel's address of a frame.
func directMap(gpa uint64) uint64 {
	return uint64(uintptr(unsafe.Pointer(&nucleus.Bytes(gpa, mm.PageSize)[0])))
}
