package vdso

import "ringo/arch/amd64/vdso"

// The architecture's code.
const (
	machine   = vdso.Machine
	version   = vdso.Version
	sigreturn = vdso.Sigreturn
)

var (
	code    = vdso.Code
	symbols = vdso.Symbols
)
