package probe

import (
	"strings"
	"testing"

	"golang.org/x/arch/x86/x86asm"
)

func TestProgramsAreWhatTheirCommentsSay(t *testing.T) {
	for name, p := range map[string]Program{"Count": Count, "Vector": Vector, "Trip": Trip, "Store": Store, "Timer": Timer} {
		off := 0
		for _, i := range p.code {
			if off == p.handler && p.handler != 0 && i.text != "out 0xf0, al" {
				t.Errorf("%s: handler at %#x is %s", name, off, i.text)
			}
			if off == p.fail && p.fail != 0 && i.text != "out 0xf2, al" {
				t.Errorf("%s: failure at %#x is %s", name, off, i.text)
			}
			inst, err := x86asm.Decode(i.bytes, 64)
			if err != nil || inst.Len != len(i.bytes) {
				t.Errorf("%s+%#x: % x: %d bytes, %v", name, off, i.bytes, inst.Len, err)
				continue
			}
			if got := x86asm.IntelSyntax(inst, 0, nil); got != i.text {
				t.Errorf("%s+%#x: % x is %q, not %q", name, off, i.bytes, got, i.text)
			}
			off += len(i.bytes)
		}
	}
	if !strings.Contains(Store.code[1].text, "[rsi]") || StorePC != codeGVA+len(Store.code[0].bytes) || AfterStorePC != StorePC+len(Store.code[1].bytes) {
		t.Error("StorePC is wrong")
	}
}
