package pagetrace

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"ringo/debug/hit"
	"ringo/internal/pagetable"
)

// ram is guest memory without a guest.
type ram struct{ b [0x8000]byte }

func (r *ram) Peek(gpa uint64, p []byte) int {
	if gpa >= uint64(len(r.b)) {
		return 0
	}
	return copy(p, r.b[gpa:])
}
func (r *ram) Poke(gpa uint64, p []byte) error            { copy(r.b[gpa:], p); return nil }
func (r *ram) ReadVirtual(*Registers, uint64, int) []byte { return nil }
func (r *ram) Store(gpa uint64, p []byte) error           { copy(r.b[gpa:], p); return nil }
func (r *ram) Update(uint64, int, func(uint64) uint64) (uint64, uint64, error) {
	return 0, 0, nil
}
func (r *ram) Walk(_ *Registers, gva uint64) pagetable.Walk { return pagetable.Walk{VA: gva} }

// clock is the only thing about the machine that these tests need.
type clock struct{ Machine }

func (clock) Elapsed() time.Duration { return 5 }

func engine(calls *[]string) (*Engine, *ram) {
	r := new(ram)
	return New(Config{Machine: clock{}, Memory: r, Protect: func(gpa, size uint64, p Page) error {
		if gpa+size > uint64(len(r.b)) {
			return fmt.Errorf("%#x is no RAM", gpa)
		}
		*calls = append(*calls, fmt.Sprintf("%#x+%#x=%d", gpa, size, p))
		return nil
	}}), r
}

type list []*hit.Write

func (l *list) Hit(w *hit.Write) hit.Action { *l = append(*l, w); return hit.Continue }

func TestProtectionsFollowTheWatches(t *testing.T) {
	var calls []string
	e, _ := engine(&calls)
	expect := func(what string, want ...string) {
		t.Helper()
		if !slices.Equal(calls, want) {
			t.Errorf("%s: %q, want %q", what, calls, want)
		}
		calls = nil
	}
	a, err := e.Watch([]Range{{0x1ff8, 16}, {0x3000, 0x2000}}, Options{}, new(list))
	if err != nil {
		t.Fatal(err)
	}
	expect("neighbours in one call", "0x1000+0x4000=1")
	b, err := e.Watch([]Range{{0x2010, 4}}, Options{Reads: true}, new(list))
	if err != nil {
		t.Fatal(err)
	}
	expect("reads close the page", "0x2000+0x1000=2")
	c, err := e.Watch([]Range{{0x2020, 4}, {0x2030, 4}}, Options{}, new(list))
	if err != nil {
		t.Fatal(err)
	}
	expect("closed already")
	_ = a.Close()
	expect("what others watch stays", "0x1000+0x1000=0", "0x3000+0x2000=0")
	_ = b.Close()
	_ = b.Close()
	expect("only writes are left", "0x2000+0x1000=1")
	_ = c.Close()
	expect("all open", "0x2000+0x1000=0")
	if len(e.pages) != 0 {
		t.Errorf("pages are left: %v", e.pages)
	}
}

func TestImpossibleRangesAreRefused(t *testing.T) {
	var calls []string
	e, _ := engine(&calls)
	for _, r := range []Range{{0, 0}, {^uint64(0), 2}, {0x9000, 8}, {0, 1 << 40}, {0x7000, 0x2000}} {
		if _, err := e.Watch([]Range{r}, Options{}, new(list)); err == nil {
			t.Errorf("%+v was accepted", r)
		}
	}
	for at, p := range e.pages {
		if p.state != Open || len(p.watches) != 0 {
			t.Errorf("page %#x is left: %+v", at, p)
		}
	}
}

func TestDeviceWritesAreCutToTheWatch(t *testing.T) {
	var calls []string
	e, r := engine(&calls)
	var l list
	if _, err := e.Watch([]Range{{0x1ffc, 8}}, Options{ID: 7}, &l); err != nil {
		t.Fatal(err)
	}
	copy(r.b[0x1ff8:], "........0123")
	e.Device(0x1ff0, 0x20, true, []byte("abcdefghijklmnopqrstuvwxyzABCDEF"), "disk")
	e.Device(0x1000, 4, true, []byte("none"), "disk")
	e.Device(0x1ffc, 8, false, nil, "disk")
	e.Device(0x2002, 4, true, nil, "net")
	if len(l) != 3 {
		t.Fatalf("hits: %v", l)
	}
	for i, want := range []struct {
		gpa      uint64
		old, now string
		race     bool
	}{{0x1ffc, "....", "mnop", false}, {0x2000, "0123", "qrst", false}, {0x2002, "23", "23", true}} {
		h := l[i]
		if h.GPA != want.gpa || string(h.Old) != want.old || string(h.New) != want.now || h.Race != want.race || h.Kind != hit.Device || h.Watch != 7 || h.Time != 5 || h.Seq != uint64(i+1) {
			t.Errorf("hit %d: %v, %+v", i, h, h)
		}
	}
	if !e.byDevice(0x1ffc, 4) || e.byDevice(0x1800, 4) {
		t.Error("what devices have written is not remembered")
	}
}
