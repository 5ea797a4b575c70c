//go:build amd64

package vdso

import (
	"bytes"
	"unsafe"
)

// end stands behind the last instruction in code.s. No instruction there contains it.
var end = []byte("RINGO VDSO end..")

// most bounds the search for it: the image is one page.
const most = 3 << 10

// Code is the position-independent code of all functions. It expects to be copied into the page behind the data page.
//
// Sound because the assembler lays a function out in one piece, and code.s has the end mark: what is read is this program's text.
func Code() []byte {
	text := unsafe.Slice((*byte)(codeAddress()), most)
	return bytes.Clone(text[:bytes.Index(text, end)])
}
