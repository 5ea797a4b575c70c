package tracing

import (
	"encoding/binary"
	"testing"

	"ringo/debug/watch"
	"ringo/internal/kvmtest"
	"ringo/vmm/machine"
)

// The storm's test must notice when interrupts are let in during a step. On arm64 there is nothing to notice: a step that takes an interrupt ends
// at the vector, where it counts as nothing done.
func TestOnKVMStepsLandInHandlersWithInterrupts(t *testing.T) {
	kvmtest.Require(t)
	for range 5 {
		var wrong int
		l := new(log)
		m, _, stop := guest(t, 2, "entryStorm", Options{stepOnly: true, mutate: func(m watch.Machine) watch.Machine { return unmasked{m} }}, func(m *machine.Machine, w *watch.Owner) {
			put(t, m, said, 80)
			put(t, m, said+16, 2)
			if _, err := w.Add(watch.Request{GPA: dataGPA(), Physical: true, Len: 0x100, Sink: l}); err != nil {
				t.Fatal(err)
			}
		})
		last := map[uint64]uint64{}
		for _, h := range l.hits {
			at := h.GPA - dataGPA()
			if h.Len != 8 || binary.LittleEndian.Uint64(h.New) != last[at]+1 {
				wrong++
				continue
			}
			last[at]++
		}
		if stop.Fatal != nil || wrong > 0 || len(l.hits) != 8*80 || word(m, said+0x60) != 0 {
			t.Logf("noticed: %d wrong hits of %d, trap flag %#x, the guest's end %v", wrong, len(l.hits), word(m, said+0x60), stop.Fatal)
			return
		}
	}
	t.Error("an engine that lets interrupts in passes")
}

// unmasked is a machine in which interrupts arrive during a step.
type unmasked struct{ watch.Machine }

func (u unmasked) SetGuestDebug(id int, d *machine.GuestDebug) error {
	open := *d
	open.BlockInterrupts = false
	return u.Machine.SetGuestDebug(id, &open)
}

func (unmasked) MaskInterrupts(int, *machine.Registers) error   { return nil }
func (unmasked) UnmaskInterrupts(int, *machine.Registers) error { return nil }
