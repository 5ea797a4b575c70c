package guest

import (
	"bytes"
	"strings"
	"testing"
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
