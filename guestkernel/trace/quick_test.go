package trace

import (
	"fmt"
	"slices"
	"syscall"
	"testing"
	"unsafe"

	"ringo/internal/debugwindow"
	"ringo/internal/tracewindow"
)

// A quick call costs one event and no look at the counter; one that is timed, sleeps or fails has what it should.
func TestEventsOfCalls(t *testing.T) {
	words := make([]uint64, tracewindow.SizeFor(1, 256)/8)
	rings := new(tracewindow.Rings)
	if !rings.Init(uintptr(unsafe.Pointer(&words[0])), uint64(len(words)*8), 1, &tracewindow.Header{CounterHz: 1e9}) {
		t.Fatal("Init")
	}
	clock, looks := uint64(1), 0
	window := make([]uint64, debugwindow.MinSize/8+8192)
	r, err := Open(Config{
		Window: unsafe.Slice((*byte)(unsafe.Pointer(&window[0])), len(window)*8), CPUs: 1, Rings: rings,
		Counter: func() uint64 { looks++; return clock }, CPU: func() int { return 0 }, Bell: func(uint32) {},
		Describe: func(w *debugwindow.Registry) { w.Header().CounterHz = 1e9 },
	})
	if err != nil {
		t.Fatal(err)
	}
	s := r.Add(7, 7, 1, "sh")
	w, err := tracewindow.Open(rawMemory(words), 0, uint64(len(words)*8))
	if err != nil {
		t.Fatal(err)
	}
	_, at, _ := w.Events(tracewindow.Position{})
	exit := func(took uint64, result int64) tracewindow.Event {
		return tracewindow.Event{Kind: tracewindow.Exit, Code: 39, Task: 7, Args: [6]uint64{uint64(result), 1, 2, 3, 4, took}}
	}
	enter := tracewindow.Event{Kind: tracewindow.Enter, Code: 39, Task: 7, Args: [6]uint64{1, 2, 3, 4, 5, 6}}
	for _, c := range []struct {
		name        string
		look, sleep bool
		before, on  bool // the recorder, at the call's beginning and end
		ret         uint64
		err         error
		took        uint64
		looks       int
		want        []tracewindow.Event
	}{
		{name: "quick", before: true, on: true, ret: 42, took: 1000, want: []tracewindow.Event{exit(0, 42)}},
		{name: "timed", look: true, before: true, on: true, took: 1000, looks: 2, want: []tracewindow.Event{exit(1000, 0)}},
		{name: "quick after timed", before: true, on: true, took: 1000, want: []tracewindow.Event{exit(0, 0)}},
		{name: "of no time", look: true, before: true, on: true, looks: 2, want: []tracewindow.Event{exit(1, 0)}},
		{name: "very long", look: true, before: true, on: true, took: 1 << 40, looks: 2, want: []tracewindow.Event{exit(tracewindow.LongCall, 0)}},
		{name: "fails", before: true, on: true, err: syscall.EBADF, want: []tracewindow.Event{exit(0, -9)}},
		{name: "fails, wrapped", before: true, on: true, err: fmt.Errorf("so: %w", syscall.EBADF), want: []tracewindow.Event{exit(0, -9)}},
		{name: "sleeps", sleep: true, before: true, on: true, took: 500, looks: 2, want: []tracewindow.Event{enter, exit(500, 0)}},
		{name: "timed and sleeps", look: true, sleep: true, before: true, on: true, took: 500, looks: 2, want: []tracewindow.Event{enter, exit(500, 0)}},
		{name: "off", look: true, sleep: true, took: 500},
		{name: "switches it off", look: true, before: true, took: 500, looks: 2},
		{name: "switches it on", look: true, on: true, took: 500, want: []tracewindow.Event{exit(0, 0)}},
		{name: "after that", before: true, on: true, took: 1000, want: []tracewindow.Event{exit(0, 0)}},
	} {
		looks = 0
		rings.Set(c.before)
		s.Enter(39, &[6]uint64{1, 2, 3, 4, 5, 6})
		if c.look {
			s.Look()
		}
		if c.sleep {
			s.tellCall()
		}
		rings.Set(c.on)
		clock += c.took
		s.Leave(c.ret, c.err)
		var events []tracewindow.Event
		events, at, _ = w.Events(at)
		for i := range events {
			e := &events[i]
			e.Seq, e.Slot, e.Time = 0, 0, 0
		}
		if looks != c.looks || !slices.Equal(events, c.want) {
			t.Errorf("%s: %d looks at the counter, want %d; events %+v, want %+v", c.name, looks, c.looks, events, c.want)
		}
	}
}

// rawMemory is the window's memory, from address 0.
type rawMemory []uint64

func (r rawMemory) Peek(at uint64, p []byte) int {
	return copy(p, unsafe.Slice((*byte)(unsafe.Pointer(&r[0])), len(r)*8)[at:])
}
