//go:build arm64

package selftest

import "unsafe"

// Defined in program.s.
func program()
func programAddress() uintptr

// Code is the machine code: position independent, CodeSize bytes, to be copied to an executable user page.
func Code() []byte {
	address := programAddress()
	return unsafe.Slice(*(**byte)(unsafe.Pointer(&address)), CodeSize)
}
