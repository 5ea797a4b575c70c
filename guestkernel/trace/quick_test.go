package trace

import (
	"testing"
	"unsafe"

	"ringo/internal/debugwindow"
	"ringo/internal/tracewindow"
)

// Quick calls are timed now and then, slow ones each time, and one that has become slow is found out.
func TestQuickCallsAreTimedNowAndThen(t *testing.T) {
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
	calls := func(n int, took uint64) int {
		looks = 0
		for range n {
			s.Enter(39, &[6]uint64{})
			clock += took
			s.Leave(0, nil)
		}
		return looks
	}
	if got := calls(160, 1000); got < 160+160/timeEvery || got > 160+160/timeEvery+2 {
		t.Errorf("160 quick calls: %d looks at the counter", got)
	}
	if got := calls(160, 1_000_000); got < 2*160-timeEvery {
		t.Errorf("160 slow calls: %d looks at the counter", got)
	}
}
