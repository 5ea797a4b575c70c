package nucleus

import "unsafe"

// pointer makes a pointer from an address outside the Go heap (direct map, records, areas), or
// into memory of a thread that is in the nucleus (system call arguments), which the caller has
// made present. The nucleus never keeps it: no pointer is stored in memory.
func pointer(addr uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&addr)) }

// memory is the bytes at such an address.
func memory(addr uintptr, n int) []byte { return unsafe.Slice((*byte)(pointer(addr)), n) }

func load32(addr uint64) uint32     { return *(*uint32)(pointer(uintptr(addr))) }
func load64(addr uint64) uint64     { return *(*uint64)(pointer(uintptr(addr))) }
func store32(addr uint64, v uint32) { *(*uint32)(pointer(uintptr(addr))) = v }
func store64(addr uint64, v uint64) { *(*uint64)(pointer(uintptr(addr))) = v }

func stringAddr(s string) uintptr { return uintptr(unsafe.Pointer(unsafe.StringData(s))) }

func bytesAddr(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }
