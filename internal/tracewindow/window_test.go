package tracewindow

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"
)

type ram struct {
	base uint64
	b    []byte
}

func (r ram) Peek(gpa uint64, p []byte) int {
	if gpa < r.base || gpa-r.base >= uint64(len(r.b)) {
		return 0
	}
	return copy(p, r.b[gpa-r.base:])
}

const testBase = 0x20_0000

func window(t testing.TB, cpus, slots int) (*Rings, ram) {
	t.Helper()
	words := make([]uint64, SizeFor(cpus, slots)/8)
	b := unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), len(words)*8)
	r := new(Rings)
	if r.On() {
		t.Error("the zero value is on")
	}
	if !r.Init(uintptr(unsafe.Pointer(&words[0])), uint64(len(b)), cpus, &Header{CounterHz: 1000}) || !r.On() {
		t.Fatal("Init failed")
	}
	return r, ram{testBase, b}
}

func read(t testing.TB, m ram) ([]Event, Lost) {
	t.Helper()
	w, err := Open(m, testBase, uint64(len(m.b)))
	if err != nil {
		t.Fatal(err)
	}
	events, _, lost := w.Events(Position{})
	return events, lost
}

func TestLayoutIsPinned(t *testing.T) {
	var h Header
	var e record
	for _, f := range []struct {
		name      string
		got, want uintptr
	}{
		{"Header", unsafe.Sizeof(h), 192 + 32*96}, {"Header.Kinds", unsafe.Offsetof(h.Kinds), 192},
		{"record", unsafe.Sizeof(e), EventSize}, {"record.Args", unsafe.Offsetof(e.Args), 16}, {"record.Tail", unsafe.Offsetof(e.Tail), 56},
		{"Meaning", unsafe.Sizeof(Meaning{}), 96},
	} {
		if f.got != f.want {
			t.Errorf("%s = %d, want %d", f.name, f.got, f.want)
		}
	}
	for i := range meanings {
		if len(meanings[i].name) > 15 {
			t.Errorf("kind %s: name too long", meanings[i].name)
		}
		for _, f := range meanings[i].fields {
			if len(f) > 11 {
				t.Errorf("field %s: name too long", f)
			}
		}
	}
	if len(meanings) != NumKinds-1 {
		t.Errorf("%d meanings for %d kinds", len(meanings), NumKinds)
	}
}

func TestEventsComeInOrder(t *testing.T) {
	r, m := window(t, 2, 64)
	for i := range uint64(20) {
		r.Emit(int(i%3), i*10+1, Enter, uint16(i), uint32(i), i, i+1, i+2, i+3) // CPU 2 does not exist
	}
	events, lost := read(t, m)
	if len(events) != 20 || lost != (Lost{}) {
		t.Fatalf("%d events, lost %+v", len(events), lost)
	}
	for i, e := range events {
		n := uint64(i)
		if e.Seq != n+1 || e.Time != n*10+1 || e.Kind != Enter || e.Code != uint16(n) || e.Task != uint32(n) || e.Args != [6]uint64{n, n + 1, n + 2, n + 3} {
			t.Errorf("event %d: %+v", n, e)
		}
	}
}

// Events of one moment keep their ring's order, and a call has all six of its fields.
func TestCallsAndMoments(t *testing.T) {
	r, m := window(t, 2, 64)
	for i := range 10 {
		r.Call(5, Head(Exit, i%2, 3, 7), uint64(i), &[4]uint64{1, 2, 3, 4}, LongCall)
	}
	events, _ := read(t, m)
	if len(events) != 10 {
		t.Fatalf("%d events", len(events))
	}
	for i, e := range events {
		if want := uint64(i%5)*2 + uint64(i/5); e.Args != [6]uint64{want, 1, 2, 3, 4, LongCall} || int(e.Ring) != i/5 || e.Slot != uint64(i%5) {
			t.Errorf("event %d: %+v", i, e)
		}
	}
}

// An event without a time has that of the one before it in its ring, and a late one does not change the ring's order.
func TestEventsWithoutTime(t *testing.T) {
	r, m := window(t, 2, 64)
	for _, e := range []struct{ cpu, time uint64 }{{0, 0}, {0, 10}, {1, 12}, {0, 0}, {1, 20}, {0, 30}, {0, 25}, {1, 0}, {1, 40}, {0, 0}} {
		r.Emit(int(e.cpu), e.time, Mark, 0, 0, 0, 0, 0, 0)
	}
	events, _ := read(t, m)
	var got [][3]uint64
	for _, e := range events {
		got = append(got, [3]uint64{e.Time, uint64(e.Ring), e.Slot})
	}
	want := [][3]uint64{{10, 0, 0}, {10, 0, 1}, {10, 0, 2}, {12, 1, 0}, {20, 1, 1}, {20, 1, 2}, {30, 0, 3}, {30, 0, 4}, {30, 0, 5}, {40, 1, 3}}
	if !slices.Equal(got, want) {
		t.Errorf("time, ring, slot:\n%v, want\n%v", got, want)
	}
}

// A reader that goes on where it stopped sees each event once, and those that it missed are counted.
func TestReadingGoesOn(t *testing.T) {
	r, m := window(t, 2, 64)
	w, err := Open(m, testBase, uint64(len(m.b)))
	if err != nil {
		t.Fatal(err)
	}
	var at Position
	seen := uint64(0)
	slots := uint64(w.Header.Slots)
	for _, n := range []uint64{0, 1, 20, 7, 0, 2 * slots, 3*slots + 1} {
		for range n {
			r.Emit(1, seen, Mark, 0, 0, seen, 0, 0, 0)
			seen++
		}
		var events []Event
		var lost Lost
		events, at, lost = w.Events(at)
		want := min(n, slots)
		if uint64(len(events)) != want || lost.Torn != 0 || lost.Overwritten != seen-min(seen, slots) || at != (Position{1: seen}) {
			t.Fatalf("after %d of %d: %d events, want %d; lost %+v, at %d", n, seen, len(events), want, lost, at[1])
		}
		for i, e := range events {
			if e.Args[0] != seen-want+uint64(i) {
				t.Fatalf("event %d is %d", i, e.Args[0])
			}
		}
	}
}

func TestRingWrapKeepsTheLastAndCountsTheRest(t *testing.T) {
	r, m := window(t, 1, 64)
	for i := range uint64(1000) {
		r.Emit(0, i, Mark, 0, 0, i, 0, 0, 0)
	}
	events, lost := read(t, m)
	if len(events) != 64 || lost.Overwritten != 936 || lost.Torn != 0 || events[0].Args[0] != 936 || events[63].Args[0] != 999 {
		t.Errorf("%d events, lost %+v", len(events), lost)
	}
}

func TestHalfWrittenEventsAreDroppedAndCounted(t *testing.T) {
	r, m := window(t, 1, 64)
	for i := range uint64(10) {
		r.Emit(0, i, Mark, 0, 0, i, 0, 0, 0)
	}
	for byteInEvent := range EventSize {
		at := HeaderSize + ringHeader + 4*EventSize + byteInEvent
		m.b[at] ^= 0x40
		events, lost := read(t, m)
		if len(events) != 9 || lost.Torn != 1 {
			t.Errorf("byte %d changed: %d events, lost %+v", byteInEvent, len(events), lost)
		}
		m.b[at] ^= 0x40
	}
}

func TestConcurrentWritersLoseNothing(t *testing.T) {
	r, m := window(t, 2, 1<<14)
	var wg sync.WaitGroup
	var clock atomic.Uint64
	for w := range 4 {
		wg.Go(func() {
			for i := range 4000 {
				r.Emit(w%2, clock.Add(1), Mark, 0, uint32(w), uint64(i), 0, 0, 0)
			}
		})
	}
	wg.Wait()
	events, lost := read(t, m)
	if len(events) != 16000 || lost != (Lost{}) {
		t.Fatalf("%d events, lost %+v", len(events), lost)
	}
	var next [4]uint64
	for i, e := range events {
		if e.Seq != uint64(i)+1 || e.Args[0] != next[e.Task] {
			t.Fatalf("event %d: %+v, want %d of writer %d", i, e, next[e.Task], e.Task)
		}
		next[e.Task]++
	}
}

func TestHeadersThatCannotBe(t *testing.T) {
	for name, spoil := range map[string]func(*Header){
		"magic": func(h *Header) { h.Magic++ }, "version": func(h *Header) { h.Version++ }, "size": func(h *Header) { h.Size *= 2 },
		"no CPUs": func(h *Header) { h.CPUs = 0 }, "CPUs": func(h *Header) { h.CPUs = 65 }, "more CPUs": func(h *Header) { h.CPUs = 9 },
		"no slots": func(h *Header) { h.Slots = 0 }, "odd slots": func(h *Header) { h.Slots = 63 }, "slots": func(h *Header) { h.Slots = 1 << 31 },
		"offset": func(h *Header) { h.RingOffset = 8 }, "far": func(h *Header) { h.RingOffset = ^uint32(0) }, "stride": func(h *Header) { h.RingStride = 0 },
	} {
		_, m := window(t, 2, 64)
		spoil((*Header)(unsafe.Pointer(&m.b[0])))
		if _, err := Open(m, testBase, uint64(len(m.b))); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v, want ErrCorrupt", name, err)
		}
	}
	if _, err := Open(ram{testBase, make([]byte, 8192)}, testBase, 8192); !errors.Is(err, ErrAbsent) {
		t.Errorf("nothing written: %v", err)
	}
	if _, err := Open(ram{testBase, make([]byte, 100)}, testBase, 8192); !errors.Is(err, ErrCorrupt) {
		t.Errorf("short: %v", err)
	}
	var r Rings
	if r.Init(0, 4096, 1, &Header{}) || r.On() {
		t.Error("a window without room was taken")
	}
}

func FuzzWindow(f *testing.F) {
	r, m := window(f, 2, 64)
	for i := range uint64(100) {
		r.Emit(int(i%2), i, Kind(i%16), 0, 0, i, 0, 0, 0)
	}
	f.Add(m.b)
	f.Fuzz(func(t *testing.T, b []byte) {
		w, err := Open(ram{testBase, b}, testBase, uint64(len(b)))
		if err != nil {
			return
		}
		events, _, _ := w.Events(Position{})
		for i := 1; i < len(events); i++ {
			if events[i].Seq < events[i-1].Seq {
				t.Fatal("out of order")
			}
		}
	})
}

func BenchmarkEmit(b *testing.B) {
	r, _ := window(b, 1, 1<<12)
	for i := range b.N {
		r.Emit(0, uint64(i), Enter, 1, 2, 3, 4, 5, 6)
	}
}

func TestLastIsTheEndOfEachRing(t *testing.T) {
	r, m := window(t, 2, 64)
	for i := range uint64(200) {
		r.Emit(int(i%2), i, Mark, 0, 0, i, 0, 0, 0)
	}
	w, err := Open(m, testBase, uint64(len(m.b)))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []uint64{0, 1, 5, 64, 1000} {
		got := w.Last(n)
		want := int(2 * min(n, uint64(w.Header.Slots)))
		if len(got) != want {
			t.Errorf("the last %d: %d events, want %d", n, len(got), want)
		}
		for i, e := range got {
			if e.Args[0] != uint64(200-want+i) {
				t.Errorf("the last %d: event %d is %d", n, i, e.Args[0])
			}
		}
	}
}
