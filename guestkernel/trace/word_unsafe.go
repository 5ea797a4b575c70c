package trace

import "unsafe"

// word is the word at an address of kernel memory that is known to be mapped: the running goroutine's g and its own stack. Sound
// because neither moves while the goroutine does not call anything that grows its stack.
func word(addr uintptr) uintptr { return *(*uintptr)(*(*unsafe.Pointer)(unsafe.Pointer(&addr))) }

// stackBytes is a part of the calling goroutine's own stack. It must not be kept: stacks move.
func stackBytes(lo, hi uint64) []byte {
	addr := uintptr(lo)
	return unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&addr))), int(hi-lo))
}

func addressOf(b []byte) uint64 { return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) }
