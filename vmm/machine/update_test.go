package machine

import (
	"bytes"
	"errors"
	"sync"
	"testing"
)

func TestUpdateIsAtomic(t *testing.T) {
	m := twoSlots(t)
	const n, add = 2000, 0x0101
	var wg sync.WaitGroup
	for _, gpa := range []uint64{0x1000, 0x1000, 0x1002, 0x1004} {
		wg.Go(func() {
			for range n {
				if _, _, err := m.Update(gpa, 2, func(old uint64) uint64 { return old + add }); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	got := make([]byte, 8)
	m.Peek(0x1000, got)
	low := func(v int) []byte { return []byte{byte(v), byte(v >> 8)} }
	want := append(append(append(low(2*n*add), low(n*add)...), low(n*add)...), 0, 0)
	if !bytes.Equal(got, want) {
		t.Errorf("% x, want % x", got, want)
	}
	was, is, err := m.Update(0x1007, 1, func(old uint64) uint64 { return old + 0x1ff })
	if was != 0 || is != 0xff || err != nil {
		t.Errorf("%#x, %#x, %v", was, is, err)
	}
	for _, c := range []struct {
		gpa uint64
		n   int
	}{{0x1001, 8}, {0x1007, 2}, {0x1000, 0}, {0x1000, 9}} {
		if _, _, err := m.Update(c.gpa, c.n, func(uint64) uint64 { return 0 }); err == nil {
			t.Errorf("%d bytes at %#x", c.n, c.gpa)
		}
	}
	if _, _, err := m.Update(0x4000, 8, func(uint64) uint64 { return 0 }); !errors.Is(err, ErrNotRAM) {
		t.Errorf("outside RAM: %v", err)
	}
}

func TestStoreWritesExactlyItsBytes(t *testing.T) {
	m := twoSlots(t)
	for n := 1; n <= 64; n++ {
		for off := range uint64(16) {
			image, p := bytes.Repeat([]byte{0xaa}, 96), make([]byte, n)
			for i := range p {
				p[i] = byte(i + 1)
			}
			if err := m.Poke(0x2000, image); err != nil {
				t.Fatal(err)
			}
			if err := m.Store(0x2000+off, p); err != nil {
				t.Fatal(err)
			}
			copy(image[off:], p)
			got := make([]byte, len(image))
			if m.Peek(0x2000, got); !bytes.Equal(got, image) {
				t.Fatalf("%d bytes at +%d: % x", n, off, got)
			}
		}
	}
	if err := m.Store(0x3ffe, []byte{1, 2, 3, 4}); !errors.Is(err, ErrNotRAM) {
		t.Errorf("beyond RAM: %v", err)
	}
}
