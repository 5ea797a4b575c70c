package doctor

import "unsafe"

// address is where a mapping lies. Sound because b comes from mmap and not from the heap,
// so nothing moves it; its owner unmaps it after the VM is closed.
func address(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }
