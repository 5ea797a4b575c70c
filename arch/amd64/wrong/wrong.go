//go:build amd64

// Package wrong holds what injected bugs (guestkernel/inject) need of the instruction set: stores that Go's compiler does not
// make. arch/amd64/wrong and arch/arm64/wrong have the same API; what an architecture cannot do wrong is a constant.
package wrong

// HasBackward says that string stores can run downwards here, HasAccessed that the CPU writes to page tables.
const (
	HasBackward = true
	HasAccessed = true
	// WideSize is the size of StoreWide, in bytes.
	WideSize = 32
)

// ClearBackward clears n bytes with the direction flag set: downwards, from the word at addr on. n is a multiple of 8.
func ClearBackward(addr, n uint64)

// StoreWide stores WideSize bytes of ones with one instruction, on a CPU with vectors of that size, else with two of half the size.
func StoreWide(addr uint64)

// CrossPages makes one 8-byte store at addr, then copies 8 bytes from addr-64 to addr+8 with a byte-wise string store (arm64: a
// pair), then adds 1 atomically to the 4 bytes at addr+16.
func CrossPages(addr uint64)

// SpinMasked spins with interrupts masked until *word is not 0.
func SpinMasked(word *uint32)
