package probe

import (
	"encoding/binary"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/arch/arm64/arm64asm"
)

// systemRegisters are names that the disassembler prints as numbers.
var systemRegisters = regexp.MustCompile(`\b(icc|cntv|vbar|elr|spsr|daifclr)`)

func TestProgramsAreWhatTheirCommentsSay(t *testing.T) {
	check := func(name string, code []instruction) {
		for n, i := range code {
			var b [4]byte
			binary.LittleEndian.PutUint32(b[:], i.word)
			inst, err := arm64asm.Decode(b[:])
			if err != nil {
				t.Errorf("%s+%#x: %08x (%s): %v", name, n*4, i.word, i.text, err)
				continue
			}
			got := strings.ToLower(inst.String())
			if systemRegisters.MatchString(i.text) {
				// Compare the instruction and the general register only.
				if want := strings.Fields(i.text)[0]; strings.Fields(got)[0] != want {
					t.Errorf("%s+%#x: %08x is %q, not %q", name, n*4, i.word, got, i.text)
				}
				continue
			}
			if normal(got) != normal(i.text) {
				t.Errorf("%s+%#x: %08x is %q, not %q", name, n*4, i.word, got, i.text)
			}
		}
	}
	for name, p := range map[string]Program{"Count": Count, "Vector": Vector, "Trip": Trip, "Store": Store, "Timer": Timer, "failed": {code: failed}} {
		check(name, p.code)
		for _, v := range p.vectors {
			check(name, v)
		}
	}
	if !strings.Contains(Store.code[1].text, "[x1]") || StorePC != codeGVA+4 {
		t.Error("StorePC is wrong")
	}
}

func normal(s string) string { return strings.ReplaceAll(s, " ", "") }
