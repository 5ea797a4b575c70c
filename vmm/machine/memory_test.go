package machine

import (
	"bytes"
	"errors"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"ringo/virtio/queue"
)

var tester = queue.NoQueue("test")

// twoSlots is RAM with a hole, as amd64 has one below 4 GiB.
func twoSlots(t *testing.T) *Memory {
	t.Helper()
	m, err := NewMemory([]Range{{0, 0x4000}, {0x10000, 0x2000}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func TestMemoryBounds(t *testing.T) {
	m := twoSlots(t)
	for _, c := range []struct {
		gpa, size uint64
		ok        bool
	}{
		{0, 1, true}, {0, 0x4000, true}, {0x3fff, 1, true}, {0x10000, 0x2000, true}, {0x11fff, 1, true},
		{0, 0x4001, false}, {0x3fff, 2, false}, {0x4000, 1, false}, {0xffff, 1, false}, {0xffff, 2, false},
		{0x11fff, 2, false}, {0x12000, 1, false}, {^uint64(0), 1, false}, {^uint64(0), 2, false},
		{1, ^uint64(0), false}, {0x10000, ^uint64(0) - 0xffff, false}, {0x10000, 1 << 63, false},
	} {
		if err := m.Check(c.gpa, c.size); (err == nil) != c.ok || err != nil && !errors.Is(err, ErrNotRAM) {
			t.Errorf("Check(%#x, %#x) = %v, want ok %t", c.gpa, c.size, err, c.ok)
		}
		if _, err := m.Slice(c.gpa, c.size, false, tester); (err == nil) != c.ok {
			t.Errorf("Slice(%#x, %#x): err = %v, want ok %t", c.gpa, c.size, err, c.ok)
		}
		if c.size > 1<<20 {
			continue
		}
		if err := m.ReadAt(c.gpa, make([]byte, c.size), tester); (err == nil) != c.ok {
			t.Errorf("ReadAt(%#x, %#x) = %v, want ok %t", c.gpa, c.size, err, c.ok)
		}
		if err := m.WriteAt(c.gpa, make([]byte, c.size), tester); (err == nil) != c.ok {
			t.Errorf("WriteAt(%#x, %#x) = %v, want ok %t", c.gpa, c.size, err, c.ok)
		}
	}
	for _, gpa := range []uint64{0, 5, ^uint64(0)} {
		if err := m.Check(gpa, 0); err != nil {
			t.Errorf("Check(%#x, 0) = %v, size 0 is always fine", gpa, err)
		}
	}
}

// A write that does not fit must leave memory as it was.
func TestFailedWriteChangesNothing(t *testing.T) {
	m := twoSlots(t)
	if err := m.WriteAt(0x3ff0, bytes.Repeat([]byte{1}, 32), tester); err == nil {
		t.Fatal("a write across the end of a slot was accepted")
	}
	got := make([]byte, 16)
	if err := m.ReadAt(0x3ff0, got, tester); err != nil || !bytes.Equal(got, make([]byte, 16)) {
		t.Errorf("memory = % x (%v), want zeroes", got, err)
	}
}

// What KVM maps and what the monitor sees are the same pages.
func TestBothViewsAreOneMemory(t *testing.T) {
	m := twoSlots(t)
	if err := m.WriteAt(0x10123, []byte("hello"), tester); err != nil {
		t.Fatal(err)
	}
	s := &m.slots[1]
	var got [5]byte
	// Through /proc/self/mem, as nothing in this process may index that view.
	fd, err := unix.Open("/proc/self/mem", unix.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if _, err := unix.Pread(fd, got[:], int64(s.kvm.hva())+0x123); err != nil || string(got[:]) != "hello" {
		t.Errorf("KVM's view holds %q (%v)", got, err)
	}
}

func TestObserverSeesEveryAccessBeforeItHappens(t *testing.T) {
	m := twoSlots(t)
	var seen []Access
	var old []byte
	m.Observe(func(a Access) {
		a.Data = bytes.Clone(a.Data)
		seen = append(seen, a)
		if a.Write {
			b := make([]byte, a.Size)
			m.Peek(a.GPA, b)
			old = append(old, b...)
		}
	})
	src := Source{Device: "virtio-console", Queue: 2, Head: 5}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(m.WriteAt(0x100, []byte{1, 2}, src))
	check(m.WriteUint16(0x100, 0x0403, src))
	check(m.ReadAt(0x100, make([]byte, 3), src))
	_, err := m.ReadUint16(0x102, src)
	check(err)
	_, err = m.Slice(0x200, 8, true, src)
	check(err)
	want := []Access{
		{0x100, 2, true, []byte{1, 2}, src}, {0x100, 2, true, []byte{3, 4}, src}, {0x100, 3, false, nil, src},
		{0x102, 2, false, nil, src}, {0x200, 8, true, nil, src},
	}
	if len(seen) != len(want) {
		t.Fatalf("%d accesses seen, want %d: %v", len(seen), len(want), seen)
	}
	for i, w := range want {
		g := seen[i]
		if g.GPA != w.GPA || g.Size != w.Size || g.Write != w.Write || !bytes.Equal(g.Data, w.Data) || g.Source != w.Source {
			t.Errorf("access %d = %+v, want %+v", i, g, w)
		}
	}
	if !bytes.Equal(old[:4], []byte{0, 0, 1, 2}) {
		t.Errorf("old bytes % x, want those before each write", old[:4])
	}
	check(m.Poke(0x300, []byte{9}))
	if b := make([]byte, 1); m.Peek(0x300, b) != 1 || b[0] != 9 || len(seen) != len(want) {
		t.Error("Poke did not write, or told the observer")
	}
	if err := m.Poke(0x3fff, []byte{9, 9}); !errors.Is(err, ErrNotRAM) {
		t.Errorf("Poke across the end: %v", err)
	}
	if m.Observe(nil) == nil {
		t.Error("Observe did not return the observer before")
	}
	check(m.WriteAt(0x100, []byte{1}, src))
	if len(seen) != len(want) {
		t.Error("an observer that was removed was called")
	}
	if got := src.String(); got != "virtio-console, queue 2, head 5" {
		t.Errorf("source = %q", got)
	}
}

// Two halves of one word are written at the same time and neither is lost.
func TestWriteUint16KeepsItsNeighbour(t *testing.T) {
	m := twoSlots(t)
	var wg sync.WaitGroup
	for half := range uint64(2) {
		wg.Go(func() {
			for v := range uint16(20_000) {
				if err := m.WriteUint16(0x3ffc+half*2, v, tester); err != nil {
					t.Error(err)
					return
				}
				if got, err := m.ReadUint16(0x3ffc+half*2, tester); err != nil || got != v {
					t.Errorf("half %d: read %d (%v) after writing %d", half, got, err, v)
					return
				}
			}
		})
	}
	wg.Wait()
	if _, err := m.ReadUint16(1, tester); err == nil {
		t.Error("an odd address was accepted")
	}
	if _, err := m.ReadUint16(0x4000, tester); !errors.Is(err, ErrNotRAM) {
		t.Errorf("outside RAM: %v", err)
	}
}

func TestZero(t *testing.T) {
	m := twoSlots(t)
	for _, c := range []struct{ gpa, size uint64 }{
		{0x10, 0x20}, {0xff0, 0x20}, {0x1000, 0x1000}, {0xfff, 0x2002}, {0x10001, 0x1ffe}, {0x10000, 0x2000}, {5, 0},
	} {
		for _, r := range m.Ranges() {
			if err := m.WriteAt(r.Base, bytes.Repeat([]byte{0xaa}, int(r.Size)), tester); err != nil {
				t.Fatal(err)
			}
		}
		if err := m.Zero(c.gpa, c.size, tester); err != nil {
			t.Fatal(err)
		}
		for _, r := range m.Ranges() {
			b := make([]byte, r.Size)
			m.Peek(r.Base, b)
			for i, x := range b {
				gpa := r.Base + uint64(i)
				if inside := gpa-c.gpa < c.size; inside != (x == 0) {
					t.Fatalf("Zero(%#x, %#x): byte at %#x is %#x", c.gpa, c.size, gpa, x)
				}
			}
		}
	}
	if err := m.Zero(0x3fff, 2, tester); !errors.Is(err, ErrNotRAM) {
		t.Errorf("outside RAM: %v", err)
	}
}

func TestPeekStopsAtTheEndOfRAM(t *testing.T) {
	m := twoSlots(t)
	for _, c := range []struct {
		gpa  uint64
		want int
	}{{0, 8}, {0x3ffc, 4}, {0x4000, 0}, {0x11fff, 1}, {^uint64(0), 0}} {
		if got := m.Peek(c.gpa, make([]byte, 8)); got != c.want {
			t.Errorf("Peek(%#x) = %d bytes, want %d", c.gpa, got, c.want)
		}
	}
}
