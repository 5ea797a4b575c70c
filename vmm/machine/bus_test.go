package machine

import (
	"bytes"
	"strings"
	"testing"
)

// register is a device that answers with its offset and remembers what was written.
type register struct {
	wrote []byte
	at    uint64
}

func (r *register) Read(offset uint64, data []byte) {
	for i := range data {
		data[i] = byte(offset) + byte(i)
	}
}

func (r *register) Write(offset uint64, data []byte) { r.at, r.wrote = offset, bytes.Clone(data) }

type panicky struct{}

func (panicky) Read(uint64, []byte)  { panic("no such luck") }
func (panicky) Write(uint64, []byte) { panic("no such luck") }

func TestBusFindsTheDevice(t *testing.T) {
	b := bus{kind: "MMIO"}
	var first, second register
	for _, w := range []window{{0x2000, 0x100, "second", &second}, {0x1000, 0x1000, "first", &first}} {
		if err := b.add(w.name, w.base, w.size, w.dev); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		addr    uint64
		size    int
		claimed bool
		want    []byte
	}{
		{0x1000, 4, true, []byte{0, 1, 2, 3}},
		{0x1ffc, 4, true, []byte{0xfc, 0xfd, 0xfe, 0xff}},
		{0x2010, 1, true, []byte{0x10}},
		{0x20fe, 4, false, []byte{0xff, 0xff, 0xff, 0xff}}, // straddles the end
		{0xfff, 1, false, []byte{0xff}},
		{0x2100, 8, false, bytes.Repeat([]byte{0xff}, 8)},
		{^uint64(0), 2, false, []byte{0xff, 0xff}},
		{0x1000, 0, true, nil},
	} {
		data := make([]byte, c.size)
		err, claimed := b.access(c.addr, data, false)
		if err != nil || claimed != c.claimed || !bytes.Equal(data, c.want) {
			t.Errorf("read %d bytes at %#x: % x, claimed %t, err %v; want % x, %t", c.size, c.addr, data, claimed, err, c.want, c.claimed)
		}
	}
	if err, claimed := b.access(0x2004, []byte{7, 8}, true); err != nil || !claimed || second.at != 4 || !bytes.Equal(second.wrote, []byte{7, 8}) {
		t.Errorf("write: device got % x at %d", second.wrote, second.at)
	}
	before := b.unclaimed.Load()
	if err, claimed := b.access(0x5000, []byte{7, 8}, true); err != nil || claimed || b.unclaimed.Load() != before+1 {
		t.Error("a write to nothing was claimed or not counted")
	}
}

func TestBusRefusesOverlaps(t *testing.T) {
	b := bus{kind: "MMIO"}
	if err := b.add("a", 0x1000, 0x1000, &register{}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ base, size uint64 }{
		{0x1000, 0x1000}, {0x0, 0x1001}, {0x1fff, 1}, {0x1800, 8}, {0, 0x10000}, {0x3000, 0}, {^uint64(0), 2},
	} {
		if err := b.add("b", c.base, c.size, &register{}); err == nil {
			t.Errorf("window %#x, %#x bytes was accepted", c.base, c.size)
		}
	}
}

func TestPanicInADeviceIsAnError(t *testing.T) {
	b := bus{kind: "MMIO"}
	if err := b.add("fragile", 0x1000, 0x1000, panicky{}); err != nil {
		t.Fatal(err)
	}
	for _, write := range []bool{false, true} {
		err, claimed := b.access(0x1010, make([]byte, 4), write)
		if err == nil || !claimed || !strings.Contains(err.Error(), "fragile") || !strings.Contains(err.Error(), "0x1010") {
			t.Errorf("write %t: err = %v, want one that names device and address", write, err)
		}
	}
}
