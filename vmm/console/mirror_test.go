package console

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
)

func TestRing(t *testing.T) {
	var r ring
	var all []byte
	for i := range 1000 {
		p := bytes.Repeat([]byte{byte(i)}, i*7%300)
		r.add(p)
		all = append(all, p...)
		if want := all[max(0, len(all)-recentSize):]; !bytes.Equal(r.bytes(), want) {
			t.Fatalf("after %d bytes the ring is not the last of them", len(all))
		}
	}
	r.add(bytes.Repeat([]byte("x"), 3*recentSize))
	if !bytes.Equal(r.bytes(), bytes.Repeat([]byte("x"), recentSize)) {
		t.Error("a piece larger than the ring")
	}
}

// typedInto is a console port that remembers what was typed.
type typedInto struct{ c chan string }

func (f typedInto) Write(p []byte) (int, error) { f.c <- string(p); return len(p), nil }

func TestMirror(t *testing.T) {
	m := new(Mirror)
	if _, err := m.Write([]byte("before ")); err != nil {
		t.Fatal(err)
	}
	port := typedInto{make(chan string, 1)}
	m.start(port)
	ours, theirs := net.Pipe()
	defer ours.Close()
	done := make(chan error, 1)
	go func() { done <- m.Join(theirs); theirs.Close() }()
	b := make([]byte, 7)
	if _, err := io.ReadFull(ours, b); err != nil || string(b) != "before " {
		t.Fatalf("the past = %q, %v", b, err)
	}
	if _, err := ours.Write([]byte("ls\r")); err != nil || <-port.c != "ls\r" {
		t.Errorf("typing: %v", err)
	}
	if _, err := m.Write([]byte("after")); err != nil {
		t.Fatal(err)
	}
	m.end()
	rest, err := io.ReadAll(ours)
	if string(rest) != "after" || err != nil {
		t.Errorf("rest = %q, %v", rest, err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A viewer who does not read neither blocks the guest nor makes the monitor keep everything.
func TestMirrorSlowViewer(t *testing.T) {
	m := new(Mirror)
	ours, theirs := net.Pipe()
	done := make(chan error, 1)
	go func() { done <- m.Join(theirs); theirs.Close() }()
	if _, err := m.Write([]byte("a")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1)
	if _, err := io.ReadFull(ours, b); err != nil { // it has joined
		t.Fatal(err)
	}
	for range 100 {
		if _, err := m.Write(bytes.Repeat([]byte("x"), 32<<10)); err != nil {
			t.Fatal(err)
		}
	}
	m.end()
	rest, err := io.ReadAll(ours)
	if err != nil || len(rest) > 2*viewerSize+1000 || !strings.Contains(string(rest), "bytes not shown") {
		t.Errorf("%d bytes, %v; want about %d and a note", len(rest), err, 2*viewerSize)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
