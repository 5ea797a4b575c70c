// Package emulate is the outcome of an instruction's store as the monitor carries it out itself: what the two decoders,
// arch/amd64/emulate and arch/arm64/emulate, answer, for the registers R of their architecture.
//
// An instruction is emulated only if all of it is known: one run of bytes in memory that it writes, at most registers
// besides. Whatever may end in an exception, has a second operand in memory or depends on state of the processor that is not in
// R is not, and the vCPU has to carry it out.
package emulate

// MaxLen is the most bytes that an emulated instruction writes.
const MaxLen = 64

// Store is one emulated instruction.
type Store[R any] struct {
	GVA uint64
	Len int // bytes, at most MaxLen
	// Data is what a plain store writes. With Update it is not used.
	Data [MaxLen]byte
	// Update is an atomic operation of at most 8 bytes, which lie in an aligned doubleword: it answers the new value for the old
	// one and puts what the instruction leaves in registers into after. It may be called several times, each time with After
	// as Decode has left it.
	Update func(old uint64, after *R) (new uint64)
	// After are the registers behind the instruction, but for what Update changes.
	After R
}
