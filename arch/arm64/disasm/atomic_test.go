package disasm

import (
	"encoding/binary"
	"testing"
)

func TestAtomicsHaveNames(t *testing.T) {
	for word, want := range map[uint32]string{
		0xf8e600e8: "ldaddal x6, x8, [x7]",
		0x88fbfc64: "casal w27, w4, [x3]",
		0xf8e08022: "swpal x0, x2, [x1]",
		0x38203041: "ldsetb w0, w1, [x2]",
		0x78a013e1: "ldclrah w0, w1, [sp]",
		0x48207c82: "casp x0, x1, x2, x3, [x4]",
		0xc8e0fc22: "casal x0, x2, [x1]",
	} {
		if got, n := Decode(binary.LittleEndian.AppendUint32(nil, word), 0, nil); got != want || n != 4 {
			t.Errorf("%08x is %q, want %q", word, got, want)
		}
	}
}
