package main

import (
	"testing"
	"time"
)

func TestSummariseTakesPhasesByName(t *testing.T) {
	ms := time.Millisecond
	f := summarise("amd64", 2, []boot{
		{Phases: []phase{{"a", "monitor", 1 * ms}, {"b", "guest", 5 * ms}}, RSS: 10, CPU: 3},
		{Phases: []phase{{"a", "monitor", 3 * ms}, {"b", "guest", 4 * ms}}, RSS: 30, CPU: 1},
		{Phases: []phase{{"a", "monitor", 2 * ms}}, RSS: 20, CPU: 2},
	})
	want := []phaseSpread{
		{"a", "monitor", spread[time.Duration]{1 * ms, 2 * ms, 3 * ms}, spread[time.Duration]{1 * ms, 2 * ms, 3 * ms}},
		{"b", "guest", spread[time.Duration]{4 * ms, 4 * ms, 5 * ms}, spread[time.Duration]{1 * ms, 1 * ms, 4 * ms}},
	}
	if len(f.Phases) != 2 || f.Phases[0] != want[0] || f.Phases[1] != want[1] {
		t.Errorf("phases %+v, want %+v", f.Phases, want)
	}
	if f.RSS != (spread[uint64]{10, 20, 30}) || f.CPU != (spread[time.Duration]{1, 2, 3}) {
		t.Errorf("RSS %+v, CPU %+v", f.RSS, f.CPU)
	}
}

func TestParseRefusesNonsense(t *testing.T) {
	for _, args := range [][]string{{"-cpus", "0"}, {"-cpus", "x"}, {"-arch", "mips"}, {"-n", "0"}, {"-idle", "-1s"}, {"more"}} {
		if _, err := parse(args); err == nil {
			t.Errorf("%q was accepted", args)
		}
	}
}
