//go:build arm64

// Package wrong holds what injected bugs (guestkernel/inject) need of the instruction set: stores that Go's compiler does not
// make. arch/amd64/wrong and arch/arm64/wrong have the same API; what an architecture cannot do wrong is a constant.
package wrong

// HasBackward says that string stores can run downwards here, HasAccessed that the CPU writes to page tables.
const (
	HasBackward = false
	HasAccessed = false
	// WideSize is the size of StoreWide, in bytes.
	WideSize = 32
)

// ClearBackward does not exist here.
func ClearBackward(addr, n uint64) { panic("no string stores on arm64") }

// StoreWide stores WideSize bytes of ones with one instruction.
func StoreWide(addr uint64)

// CrossPages makes one 8-byte store at addr, then copies 8 bytes from addr-64 to addr+8 with a pair of words, then adds 1
// atomically to the 4 bytes at addr+16.
func CrossPages(addr uint64)

// SpinMasked spins with interrupts masked until *word is not 0.
func SpinMasked(word *uint32)
