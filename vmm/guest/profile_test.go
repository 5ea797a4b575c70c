package guest

import (
	"encoding/binary"
	"reflect"
	"testing"

	"ringo/vmm/control"
)

// Without symbols a function is an address: what the tables add up is the same.
func TestProfileTables(t *testing.T) {
	stack := func(pcs ...uint64) []byte {
		var b []byte
		for _, pc := range pcs {
			b = binary.LittleEndian.AppendUint64(b, pc)
		}
		return b
	}
	s := &samples{stacks: map[string]uint64{}}
	for range 3 {
		s.add(stack(0x100, 0x201))
	}
	s.add(stack(0x200, 0x201, 0x201)) // recursion counts once
	s.add(nil)
	got := s.end(nil)
	s.add(nil) // after the end
	want := &control.Profile{Samples: 5, User: 1, Functions: []control.ProfileFunction{
		{Function: "0x100", Flat: 3, Cumulative: 3}, {Function: "0x200", Flat: 1, Cumulative: 4}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("tables = %+v, want %+v", got, want)
	}
	if n := s.stacks[""]; n != 1 {
		t.Errorf("%d samples in user mode, one of them after the end", n)
	}
}

func TestProfileKeepsBoundedStacks(t *testing.T) {
	s := &samples{stacks: map[string]uint64{}}
	for i := range uint64(maxStacks + 100) {
		s.add(binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, 0x100), i))
	}
	if len(s.stacks) > maxStacks+1 {
		t.Errorf("%d stacks kept", len(s.stacks))
	}
	if p := s.end(nil); p.Samples != maxStacks+100 {
		t.Errorf("%d samples counted, want %d", p.Samples, maxStacks+100)
	}
}
