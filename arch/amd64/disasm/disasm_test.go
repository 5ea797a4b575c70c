package disasm

import (
	"strings"
	"testing"
)

func FuzzDecode(f *testing.F) {
	f.Add([]byte{}, uint64(0))
	f.Add([]byte{0x48, 0x89, 0x3e, 0xc3}, ^uint64(0))
	f.Add([]byte{0x20, 0x00, 0x00, 0xf9}, uint64(1)<<63)
	f.Fuzz(func(t *testing.T, code []byte, pc uint64) {
		text, n := Decode(code, pc, func(uint64) (string, uint64) { return "f", 0 })
		if n < 1 || n > max(MaxLength, 1) || text == "" || strings.Contains(text, "\n") {
			t.Fatalf("% x: %q, %d bytes", code, text, n)
		}
	})
}

func TestDecode(t *testing.T) {
	named := func(addr uint64) (string, uint64) { return "main.f", addr - 4 }
	for want, code := range map[string][]byte{
		"mov qword ptr [rsi], rdi": {0x48, 0x89, 0x3e},
		"call 0x1006 <main.f+0x4>": {0xe8, 1, 0, 0, 0},
		".byte 0x06":               {0x06},
		"(no bytes)":               {},
	} {
		if got, _ := Decode(code, 0x1000, named); got != want {
			t.Errorf("% x is %q, want %q", code, got, want)
		}
	}
}

func TestCallTarget(t *testing.T) {
	if got, ok := CallTarget([]byte{0xe8, 0xfb, 0xff, 0xff, 0xff}, 0x1005); !ok || got != 0x1000 {
		t.Errorf("%#x, %v", got, ok)
	}
	for _, code := range [][]byte{nil, {0xe8}, {0xe9, 0, 0, 0, 0}, {0x90, 0x90, 0x90, 0xff, 0xd0}} {
		if got, ok := CallTarget(code, 0x1005); ok {
			t.Errorf("% x calls %#x", code, got)
		}
	}
}
