package ring0

import "unsafe"

// vectorSize is that of Linux's struct user_fpsimd_state without its reserved words: q0 to q31, FPSR, FPCR.
const vectorSize = 32*16 + 4 + 4

// VectorSize is the bytes of a vector save area.
func VectorSize() int { return vectorSize }

// InitVector makes a zeroed area hold the initial state: all zero.
func InitVector(area uintptr) {
	clear(unsafe.Slice((*byte)(pointer(uint64(area))), vectorSize))
}

// vectorRegisters is a save area by fields.
type vectorRegisters struct {
	q          [512]byte
	fpsr, fpcr uint32
}
