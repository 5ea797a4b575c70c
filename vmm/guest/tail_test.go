package guest

import (
	"bytes"
	"strings"
	"testing"
)

func TestTailKeepsTheEnd(t *testing.T) {
	var all []byte
	k := new(tail)
	for i := range 5000 {
		line := []byte(strings.Repeat(string(rune('a'+i%26)), i%97) + "\n")
		all = append(all, line...)
		if n, err := k.Write(line); n != len(line) || err != nil {
			t.Fatal(n, err)
		}
		if want := all[max(len(all)-tailSize, 0):]; !bytes.Equal(k.bytes(), want) {
			t.Fatalf("after %d bytes the tail differs", len(all))
		}
		if cap(k.buf) > 4*tailSize {
			t.Fatalf("%d bytes held for a tail of %d", cap(k.buf), tailSize)
		}
	}
}
