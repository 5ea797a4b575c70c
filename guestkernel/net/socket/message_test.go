package socket

import (
	"bytes"
	"testing"

	"golang.org/x/sys/unix"
)

func TestControlRoundTrip(t *testing.T) {
	var b []byte
	var cut bool
	want := [][]byte{{1, 2, 3}, {}, []byte("eight by")}
	for i, data := range want {
		if b, cut = AppendControl(b, 1000, unix.SOL_SOCKET, i, data); cut {
			t.Fatal("cut with room for more")
		}
	}
	n := 0
	if err := ParseControl(b, func(level, typ int, data []byte) error {
		if level != unix.SOL_SOCKET || typ != n || !bytes.Equal(data, want[n]) {
			t.Errorf("message %d: level %d, type %d, %x", n, level, typ, data)
		}
		n++
		return nil
	}); err != nil || n != len(want) {
		t.Errorf("%d messages, %v", n, err)
	}
}

func TestControlWithoutRoom(t *testing.T) {
	for _, c := range []struct {
		room, size, length int
		cut                bool
	}{{0, 4, 0, true}, {15, 4, 0, true}, {16, 4, 16, true}, {18, 4, 18, true}, {20, 4, 20, false}, {24, 4, 24, false}, {30, 4, 24, false}} {
		b, cut := AppendControl(nil, c.room, 1, 1, make([]byte, c.size))
		if len(b) != c.length || cut != c.cut {
			t.Errorf("%d bytes of data in %d: length %d, cut %v; want %d, %v", c.size, c.room, len(b), cut, c.length, c.cut)
		}
	}
}

// FuzzParseControl: data lies within the buffer, and the walk ends.
func FuzzParseControl(f *testing.F) {
	b, _ := AppendControl(nil, 100, unix.SOL_SOCKET, unix.SCM_RIGHTS, []byte{1, 0, 0, 0})
	f.Add(b)
	f.Add(append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, make([]byte, 8)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		total := 0
		_ = ParseControl(b, func(_, _ int, data []byte) error {
			total += cmsgHeader + len(data)
			return nil
		})
		if total > len(b) {
			t.Fatalf("%d bytes of messages in %d", total, len(b))
		}
	})
}
