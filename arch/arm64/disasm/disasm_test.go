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
		"str x0, [x1]":           {0x20, 0x00, 0x00, 0xf9},
		"bl 0x1004 <main.f+0x4>": {0x01, 0x00, 0x00, 0x94},
		".word 0x00000000":       {0, 0, 0, 0},
		"(no bytes)":             {1, 2},
	} {
		if got, _ := Decode(code, 0x1000, named); got != want {
			t.Errorf("% x is %q, want %q", code, got, want)
		}
	}
}

func TestCallTarget(t *testing.T) {
	for want, code := range map[uint64][]byte{0x1000: {0, 0, 0, 0x94}, 0xffc: {0xff, 0xff, 0xff, 0x97}, 0x1004: {1, 0, 0, 0x94}} {
		if got, ok := CallTarget(code, 0x1004); !ok || got != want {
			t.Errorf("% x calls %#x, %v; want %#x", code, got, ok, want)
		}
	}
	for _, code := range [][]byte{nil, {0x94}, {0, 0, 0, 0x14}, {0x00, 0x00, 0x3f, 0xd6}} {
		if got, ok := CallTarget(code, 0x1004); ok {
			t.Errorf("% x calls %#x", code, got)
		}
	}
}
