package guest

import (
	"bytes"
	"strings"
	"testing"

	"ringo/internal/pagetable"
)

func TestPatternOf(t *testing.T) {
	for _, c := range []struct {
		b    []byte
		want string
	}{
		{make([]byte, 64), "zeroes"},
		{bytes.Repeat([]byte{0x42}, 5), "byte 0x42"},
		{bytes.Repeat([]byte{1, 0}, 8), "0x0001 again"},
		{bytes.Repeat([]byte{1, 2, 3, 4, 5, 6, 7, 8}, 2), "0x0807060504030201 again"},
		{[]byte{1, 2, 3, 4, 5, 6, 7, 8}, ""},
		{[]byte{7}, ""},
	} {
		if got := patternOf(c.b); c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("% x: %q, want %q", c.b, got, c.want)
		}
	}
}

// Only what may be user memory is looked at, and the first argument that leads to the bytes is named.
func TestInBuffers(t *testing.T) {
	memory := map[uint64][]byte{
		0x1000: []byte("nothing of it"), 0x2000: []byte("....needle.."), 0x3000: []byte("needle"), pagetable.UserEnd: []byte("needle"), 3: nil,
	}
	for _, c := range []struct {
		args [6]uint64
		want string
	}{
		{[6]uint64{3, 0x2000, 12}, "the first 6 bytes stand in user memory too, at 0x2004: 0x4 bytes into argument 2"},
		{[6]uint64{0x1000, 0, 0, 0, 0, 0x3000}, "the first 6 bytes stand in user memory too, at 0x3000: 0x0 bytes into argument 6"},
		{[6]uint64{0x3000, 0x2000}, "the first 6 bytes stand in user memory too, at 0x3000: 0x0 bytes into argument 1"},
		{[6]uint64{0x1000}, ""}, {[6]uint64{}, ""}, {[6]uint64{pagetable.UserEnd, ^uint64(0)}, ""},
	} {
		got := inBuffers([]byte("needle"), c.args, func(addr uint64) []byte {
			if addr == 0 || addr >= pagetable.UserEnd {
				t.Errorf("%#x is looked at", addr)
			}
			return memory[addr]
		})
		if got != c.want {
			t.Errorf("%#x: %q, want %q", c.args, got, c.want)
		}
	}
}
