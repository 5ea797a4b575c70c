//go:build arm64

package selftest

import "unsafe"

// CheckProgram is the code that fills every register from Data, does what Mode says and
// compares every register, Iterations times.
func CheckProgram() []byte { return code(checkCode()) }

func code(start, end uintptr) []byte {
	p := *(*unsafe.Pointer)(unsafe.Pointer(&start))
	return unsafe.Slice((*byte)(p), end-start)
}

// Defined in check.s.
func check()
func checkEnd()
func checkCode() (start, end uintptr)
