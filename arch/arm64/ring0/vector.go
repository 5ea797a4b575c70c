package ring0

import "unsafe"

// The vector state is Linux's struct user_fpsimd_state: q0 to q31, FPSR, FPCR, 8 bytes reserved.
const (
	vectorState = 32*16 + 4 + 4
	vectorSize  = vectorState + 8
)

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
	_          uint64
}
