// Package disasm decodes amd64 instructions for reports. arch/arm64/disasm has the same
// names. The bytes are a guest's and may be anything.
package disasm

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/arch/x86/x86asm"
)

// MaxLength is the most bytes that Decode looks at.
const MaxLength = 15

// Decode is the instruction at pc in Intel's syntax, and its length, at least 1. symbol
// names an address and answers where the name starts; it may be nil. Bytes that do not decode
// are shown as bytes.
func Decode(code []byte, pc uint64, symbol func(addr uint64) (name string, base uint64)) (text string, n int) {
	if len(code) == 0 {
		return "(no bytes)", 1
	}
	inst, err := decode(code)
	if err != nil || inst.Len <= 0 || inst.Op == 0 {
		return fmt.Sprintf(".byte %#02x", code[0]), 1
	}
	text = x86asm.IntelSyntax(inst, pc, nil)
	for _, a := range inst.Args {
		if rel, ok := a.(x86asm.Rel); ok && symbol != nil {
			target := pc + uint64(inst.Len) + uint64(int64(rel))
			if name, base := symbol(target); name != "" {
				text += fmt.Sprintf(" <%s+%#x>", name, target-base)
			}
		}
	}
	return text, inst.Len
}

// decode protects the report from a decoder that was not made for hostile input.
func decode(code []byte) (inst x86asm.Inst, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("decoder: %v", p)
		}
	}()
	return x86asm.Decode(code[:min(len(code), MaxLength)], 64)
}

// CallLength is how many bytes before a return address CallTarget wants.
const CallLength = 5

// CallTarget is where the direct call went that returns to ret, from the CallLength bytes
// before ret: E8 and a 32-bit distance.
func CallTarget(code []byte, ret uint64) (target uint64, ok bool) {
	if len(code) != CallLength || code[0] != 0xe8 {
		return 0, false
	}
	return ret + uint64(int64(int32(binary.LittleEndian.Uint32(code[1:])))), true
}
