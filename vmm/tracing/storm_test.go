package tracing

import (
	"encoding/binary"
	"testing"

	"ringo/debug/watch"
	"ringo/internal/kvmtest"
	"ringo/vmm/machine"
)

// Timer interrupts that arrive while stores are carried out: no step lands in the handler, no hit is lost or doubled, no interrupt is
// lost, and the handler, which stores to the same page, never sees the debugger's trap flag.
func TestOnKVMTimerStorm(t *testing.T) {
	kvmtest.Require(t)
	const rounds = 80
	for _, stepOnly := range []bool{false, true} {
		l := new(log)
		m, w, stop := guest(t, 2, "entryStorm", Options{stepOnly: stepOnly}, func(m *machine.Machine, w *watch.Owner) {
			put(t, m, said, rounds)
			put(t, m, said+16, 2)
			if _, err := w.Add(watch.Request{GPA: dataGPA(), Physical: true, Len: 0x100, Sink: l}); err != nil {
				t.Fatal(err)
			}
		})
		if stop.Kind != machine.StopPowerOff {
			t.Errorf("step only %t: stop = %+v", stepOnly, stop)
		}
		// Every word counts up, each by its own store: 1, 2, 3...
		last := map[uint64]uint64{}
		for i, h := range l.hits {
			at := h.GPA - dataGPA()
			value, old := binary.LittleEndian.Uint64(h.New), binary.LittleEndian.Uint64(h.Old)
			if h.Len != 8 || value != last[at]+1 || old != last[at] || at != 0x80 && at&8 != uint64(h.VCPU)*8 {
				t.Errorf("step only %t: hit %d, %v at +%#x, after %d", stepOnly, i, h, at, last[at])
			}
			last[at] = value
		}
		for at, want := range map[uint64]uint64{0: rounds, 8: rounds, 0x40: rounds, 0x48: rounds, 0x80: 2 * rounds, 0xc0: rounds, 0xc8: rounds} {
			if last[at] != want || word(m, at) != want {
				t.Errorf("step only %t: the last hit at +%#x says %d, memory %d, want %d", stepOnly, at, last[at], word(m, at), want)
			}
		}
		if a, b := word(m, said+0x40), word(m, said+0x48); a != rounds || b != rounds {
			t.Errorf("step only %t: %d and %d interrupts, want %d", stepOnly, a, b, rounds)
		}
		if word(m, said+0x60) != 0 {
			t.Errorf("step only %t: a handler found the trap flag in its frame", stepOnly)
		}
		c := w.Counters()
		if want := uint64(8 * rounds); c.Lost != 0 || c.Hits != want {
			t.Errorf("step only %t: %+v, want %d hits", stepOnly, c, want)
		}
		t.Logf("step only %t: %v; %d steps, %d emulated, %d exits", stepOnly, c, c.Steps, c.Emulated, c.Exits)
	}
}
