// Package store is what a decoder of memory accesses answers: which bytes does this instruction touch? The decoders
// are arch/amd64/store and arch/arm64/store.
package store

// Class is the kind of an instruction.
type Class uint8

// Classes.
const (
	Plain Class = iota
	String
	Push
	Atomic
	Vector
	XSave
	ZeroBlock
	System
)

// Operand is one run of bytes that an instruction accesses.
type Operand struct {
	GVA         uint64
	Len         int // bytes; of a repeated string instruction all that is left of its run
	Read, Write bool
	// Partial: not all of the bytes are sure to be accessed (masked stores, xsaveopt, a
	// string compare that may end early).
	Partial bool
}

// Overlaps says whether the operand has bytes in the n at gva. Ranges that wrap around the address space do not.
func (o Operand) Overlaps(gva uint64, n uint64) bool {
	return o.Len > 0 && n > 0 && o.GVA <= gva+(n-1) && gva <= o.GVA+uint64(o.Len-1)
}

// Instruction is a decoded instruction.
type Instruction struct {
	Len      int // bytes
	Class    Class
	Operands []Operand
	// Unknown: it may access memory besides Operands, or could not be decoded.
	Unknown bool
	// Until: to get over the instruction, run to one of these GVAs; a single step would end too early (one round of a
	// repeated string instruction) or spoil it (an exclusive store). Nil: a single step.
	Until []uint64
	// Attempt: the instruction may fail without writing and is then repeated by a loop around it, which the debugger must not
	// interrupt: an exclusive store, whose register Status is 0 if it succeeded.
	Attempt bool
	Status  int
	// FlagsAt is where the instruction pushes the flags, whose single-step bit is then the
	// debugger's; 0 for nowhere.
	FlagsAt uint64
}

// Writes says whether the instruction is known to write memory.
func (i *Instruction) Writes() bool {
	for _, o := range i.Operands {
		if o.Write {
			return true
		}
	}
	return false
}

// Environment is what the extent of an access depends on besides the registers. Fields of the other architecture are
// not used.
type Environment struct {
	// XSaveSize is how many bytes xsave writes at most for these components (XCR0's bits), compacted or not (amd64).
	XSaveSize func(components uint64, compacted bool) int
	// ZeroBlock is the bytes that dc zva clears, 0 if not known (arm64, DCZID_EL0).
	ZeroBlock int
	// Code reads guest code around the instruction, for the loop of an exclusive store (arm64). May be nil.
	Code func(gva uint64, n int) []byte
}
