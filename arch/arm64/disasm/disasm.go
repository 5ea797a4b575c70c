// Package disasm decodes arm64 instructions for reports. arch/amd64/disasm has the same
// names. The bytes are a guest's and may be anything.
package disasm

import (
	"encoding/binary"
	"fmt"
	"strings"

	"golang.org/x/arch/arm64/arm64asm"
)

// MaxLength is the most bytes that Decode looks at.
const MaxLength = 4

// Decode is the instruction at pc in GNU syntax, and its length, 4 unless there are fewer
// bytes. symbol names an address and answers where the name starts; it may be nil. Words that
// do not decode are shown as words.
func Decode(code []byte, pc uint64, symbol func(addr uint64) (name string, base uint64)) (text string, n int) {
	if len(code) < 4 {
		return "(no bytes)", max(len(code), 1)
	}
	inst, err := decode(code[:4])
	if err != nil {
		if text, ok := atomic(binary.LittleEndian.Uint32(code)); ok {
			return text, 4
		}
		return fmt.Sprintf(".word %#08x", binary.LittleEndian.Uint32(code)), 4
	}
	text = strings.ToLower(inst.String())
	for _, a := range inst.Args {
		if rel, ok := a.(arm64asm.PCRel); ok {
			target := pc + uint64(int64(rel))
			text = strings.Replace(text, strings.ToLower(rel.String()), fmt.Sprintf("%#x", target), 1)
			if symbol == nil {
				continue
			}
			if name, base := symbol(target); name != "" {
				text += fmt.Sprintf(" <%s+%#x>", name, target-base)
			}
		}
	}
	return text, 4
}

// decode protects the report from a decoder that was not made for hostile input.
func decode(code []byte) (inst arm64asm.Inst, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("decoder: %v", p)
		}
	}()
	return arm64asm.Decode(code)
}

// CallLength is how many bytes before a return address CallTarget wants.
const CallLength = 4

// CallTarget is where the direct call went that returns to ret, from the CallLength bytes
// before ret: BL, 100101 and a 26-bit distance in words.
func CallTarget(code []byte, ret uint64) (target uint64, ok bool) {
	if len(code) != CallLength {
		return 0, false
	}
	w := binary.LittleEndian.Uint32(code)
	if w>>26 != 0x25 {
		return 0, false
	}
	return ret - 4 + uint64(int64(int32(w<<6)>>4)), true
}
