package serial

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// sink remembers what arrived in one Write each.
type sink struct {
	mu     sync.Mutex
	writes []string
}

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes = append(s.writes, string(p))
	return len(p), nil
}

func (s *sink) got() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writes
}

func TestLinesArriveWhole(t *testing.T) {
	s := new(sink)
	l := NewLines(s)
	for _, b := range []byte("one\ntwo\nrest") {
		l.put(b)
	}
	if got := fmt.Sprintf("%q", s.got()); got != `["one\n" "two\n"]` {
		t.Errorf("before Flush: %s", got)
	}
	l.Flush()
	l.Flush()
	if got := fmt.Sprintf("%q", s.got()); got != `["one\n" "two\n" "rest"]` {
		t.Errorf("after Flush: %s", got)
	}
}

func TestUnendedLineFollowsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(sink)
		l := NewLines(s)
		l.put('#')
		time.Sleep(2 * partialLine)
		synctest.Wait()
		if got := s.got(); len(got) != 1 || got[0] != "#" {
			t.Errorf("got %q", got)
		}
	})
}

func TestEndlessLineIsCut(t *testing.T) {
	s := new(sink)
	l := NewLines(s)
	for range 3*maxLine + 1 {
		l.put('x')
	}
	l.Flush()
	if got := s.got(); len(got) != 4 || len(got[0]) != maxLine || len(strings.Join(got, "")) != 3*maxLine+1 {
		t.Errorf("%d writes", len(got))
	}
}

// registers is the part of a machine's bus that a test needs.
type registers interface {
	Read(offset uint64, data []byte)
	Write(offset uint64, data []byte)
}

func read(d registers, offset uint64, n int) []byte {
	b := bytes.Repeat([]byte{0xcc}, n)
	d.Read(offset, b)
	return b
}

func TestUART16550(t *testing.T) {
	s := new(sink)
	u := New16550(NewLines(s))
	if got := read(u, regLSR, 1)[0]; got&lsrEmpty != lsrEmpty || got&1 != 0 {
		t.Errorf("line status %#x: the transmitter must be empty and nothing received", got)
	}
	if got := read(u, regIIR, 1)[0]; got&1 == 0 {
		t.Errorf("IIR %#x says an interrupt is pending", got)
	}
	u.Write(regData, []byte("A"))
	u.Write(regLCR, []byte{lcrDLAB | 3}) // the divisor is not output
	u.Write(regData, []byte{0x0c})
	u.Write(regIER, []byte{0x01})
	if got := read(u, 0, 2); !bytes.Equal(got, []byte{0x0c, 0x01}) {
		t.Errorf("divisor % x", got)
	}
	u.Write(regLCR, []byte{3})
	u.Write(regMCR, []byte{mcrLoop}) // nor is what loops back
	u.Write(regData, []byte("X"))
	u.Write(regMCR, []byte{0})
	u.Write(regScratch, []byte{0x5a})
	u.Write(regIER, []byte{0xff})
	u.Write(regData, []byte("B\n"[:1]))
	u.Write(regData, []byte("\n"))
	if got := s.got(); len(got) != 1 || got[0] != "AB\n" {
		t.Errorf("printed %q, want AB", got)
	}
	if got := read(u, regScratch, 1)[0]; got != 0x5a {
		t.Errorf("scratch = %#x", got)
	}
	if got := read(u, regIER, 1)[0]; got != 0x0f {
		t.Errorf("IER = %#x", got)
	}
	if got := read(u, 7, 4); !bytes.Equal(got, []byte{0x5a, 0xff, 0xff, 0xff}) {
		t.Errorf("read across the end = % x", got)
	}
	u.Write(6, []byte{1, 2, 3, 4}) // beyond the end: nothing happens
}

func TestPL011(t *testing.T) {
	s := new(sink)
	u := NewPL011(NewLines(s))
	if got := read(u, pl011FR, 4); !bytes.Equal(got, []byte{0x90, 0, 0, 0}) {
		t.Errorf("flags % x, want both FIFOs empty", got)
	}
	for _, data := range [][]byte{{'a'}, {'b', 0}, {'c', 0, 0, 0}, {'\n', 0, 0, 0, 0, 0, 0, 0}} {
		u.Write(pl011DR, data)
	}
	if got := s.got(); len(got) != 1 || got[0] != "abc\n" {
		t.Errorf("printed %q", got)
	}
	u.Write(pl011IBRD, []byte{0x34, 0x12, 0xff, 0xff})
	if got := read(u, pl011IBRD, 8); !bytes.Equal(got, []byte{0x34, 0x12, 0, 0, 0, 0, 0, 0}) {
		t.Errorf("IBRD % x", got)
	}
	var id []byte
	for i := range uint64(8) {
		id = append(id, read(u, pl011ID+4*i, 1)...)
	}
	if !bytes.Equal(id, []byte{0x11, 0x10, 0x34, 0, 0x0d, 0xf0, 0x05, 0xb1}) {
		t.Errorf("identity % x", id)
	}
	// Any offset and width a guest can make.
	for offset := range uint64(0x1000) {
		for _, n := range []int{1, 2, 4, 8} {
			read(u, offset, n)
			if offset != pl011DR {
				u.Write(offset, make([]byte, n))
			}
		}
	}
}
