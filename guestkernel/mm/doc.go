// Package mm is the memory of user programs: address spaces made of VMAs, demand paging,
// copy on write with exact frame reference counts, and every access the kernel makes to
// user memory.
//
// What is mapped lives in two places. The VMA set says what each range promises (protection,
// backing). The page map (pages.go) says which frame holds each page that has been touched;
// every entry of it owns one reference to its frame. The hardware page table is only a cache
// of the page map and may be dropped at any time: a fault enters the page again.
//
// Kernel code never dereferences a user address. It translates through the page map, faulting
// pages in, and touches the frame through the direct map (Frames.Bytes), so a fault in Go code
// is always a bug and SMAP/PAN stay on.
//
// Locks: Space.mu guards everything of one address space and is held while user memory is
// copied. It is taken after any lock of the file layer; therefore an Object's Page method must not
// take a lock that is held while a vfs.Buffer is copied. Two spaces are never locked at once
// except by Fork, where the child is not yet visible to anybody.
//
// Addresses are GVA in bytes, frames GPA in bytes; lengths are bytes unless a name says pages.
// Everything here is ordinary Go: physical memory, page tables and TLB are interfaces, so the
// tests run in host memory.
package mm
