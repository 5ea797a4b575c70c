package main

import (
	"fmt"
	"io"
	"time"
)

// table compares modes of the guard. Only contracts that pass in all of them count as time.
type table struct {
	contracts, both int
	took            map[string]time.Duration // by mode
	failed          []string                 // "MODE NAME: why", of those that pass without the guard
	broken          int
	slowest         string
	ratio           float64 // of the slowest
}

const passes = "PASS"

// compare looks at the runs of the same contracts; the first mode is the one without a guard.
func compare(modes []string, runs map[string][]judgement) (t table) {
	t.took = make(map[string]time.Duration)
	by := make(map[string]map[string]judgement) // mode, name
	for _, m := range modes {
		by[m] = make(map[string]judgement)
		for _, j := range runs[m] {
			by[m][j.Name] = j
		}
	}
	for _, off := range runs[modes[0]] {
		t.contracts++
		if off.Verdict != passes {
			continue
		}
		good := true
		for _, m := range modes[1:] {
			j, ran := by[m][off.Name]
			if !ran || j.Verdict != passes {
				good = false
				t.broken++
				t.failed = append(t.failed, fmt.Sprintf("%s %s: %s %s", m, off.Name, j.Verdict, j.Why))
			}
		}
		if !good {
			continue
		}
		t.both++
		for _, m := range modes {
			t.took[m] += time.Duration(by[m][off.Name].Ringo.NS)
		}
		last := by[modes[len(modes)-1]][off.Name].Ringo.NS
		if r := float64(last) / float64(max(off.Ringo.NS, 1)); r > t.ratio && last > int64(time.Second) {
			t.slowest, t.ratio = off.Name, r
		}
	}
	return t
}

func (t *table) add(o table) {
	t.contracts += o.contracts
	t.both += o.both
	t.broken += o.broken
	t.failed = append(t.failed, o.failed...)
	if t.took == nil {
		t.took = make(map[string]time.Duration)
	}
	for m, d := range o.took {
		t.took[m] += d
	}
	if o.ratio > t.ratio {
		t.slowest, t.ratio = o.slowest, o.ratio
	}
}

// write prints one line, and those that fail only under the guard.
func (t *table) write(w io.Writer, name string, modes []string) {
	fmt.Fprintf(w, "%-12s %3d contracts, %3d pass in all modes; off %.1f s", name, t.contracts, t.both, t.took[modes[0]].Seconds())
	for _, m := range modes[1:] {
		fmt.Fprintf(w, ", %s %.1f s (%.2fx)", m, t.took[m].Seconds(), float64(t.took[m])/float64(max(t.took[modes[0]], 1)))
	}
	if t.slowest != "" {
		fmt.Fprintf(w, "; most: %s %.1fx", t.slowest, t.ratio)
	}
	fmt.Fprintln(w)
	for _, f := range t.failed {
		fmt.Fprintf(w, "    only under %s\n", f)
	}
}
