package ring0

import "unsafe"

// pointer is an address of memory that the Go runtime does not manage: an area, a vector
// save area, bytes of a log line. The caller got it from whoever mapped it and keeps it mapped.
func pointer(va uint64) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&va)) }
