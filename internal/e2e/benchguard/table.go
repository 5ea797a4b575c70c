package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// table compares modes of the guard. Only contracts that pass in every turn count as time.
type table struct {
	contracts, both int
	took            map[string]time.Duration // by mode: the sum of the contracts' medians
	ratios          map[string][]float64     // by mode: the medians to those without the guard
	failed          []string                 // "MODE NAME: why"
	slowest         string
	ratio           float64 // of the slowest
}

const (
	passes = "PASS"
	// long is what counts as the slowest only.
	long = 100 * time.Millisecond
)

// compare looks at results named AREA/NAME@MODE.ROUND; the first mode is the one without a guard.
func compare(modes []string, list []judgement) (t table) {
	t.took, t.ratios = make(map[string]time.Duration), make(map[string][]float64)
	times := make(map[string]map[string][]time.Duration) // by contract and mode
	bad := make(map[string]bool)
	var names []string
	for _, j := range list {
		at := strings.LastIndexByte(j.Name, '@')
		if at < 0 {
			continue
		}
		name := j.Name[:at]
		mode, _, _ := strings.Cut(j.Name[at+1:], ".")
		if times[name] == nil {
			times[name] = make(map[string][]time.Duration)
			names = append(names, name)
		}
		times[name][mode] = append(times[name][mode], time.Duration(j.Ringo.NS))
		if j.Verdict != passes {
			bad[name] = true
			t.failed = append(t.failed, fmt.Sprintf("%s %s: %s %s", mode, name, j.Verdict, j.Why))
		}
	}
	t.contracts = len(names)
	for _, name := range names {
		whole := true
		for _, m := range modes {
			whole = whole && len(times[name][m]) > 0
		}
		if bad[name] || !whole {
			continue
		}
		t.both++
		off := max(middle(times[name][modes[0]]), 1)
		for _, m := range modes {
			took := middle(times[name][m])
			t.took[m] += took
			r := float64(took) / float64(off)
			t.ratios[m] = append(t.ratios[m], r)
			if r > t.ratio && took >= long && m == modes[len(modes)-1] {
				t.slowest, t.ratio = name, r
			}
		}
	}
	return t
}

// middle is the median, the zero value of none.
func middle[T time.Duration | float64](list []T) (m T) {
	if len(list) == 0 {
		return m
	}
	list = slices.Sorted(slices.Values(list))
	n := len(list)
	return (list[(n-1)/2] + list[n/2]) / 2
}

// write prints one line, and those that fail.
func (t *table) write(w io.Writer, name string, modes []string) {
	fmt.Fprintf(w, "%-12s %3d contracts, %3d pass in every turn; off %.1f s", name, t.contracts, t.both, t.took[modes[0]].Seconds())
	for _, m := range modes[1:] {
		fmt.Fprintf(w, ", %s %.1f s (%.2fx, median contract %.2fx)", m, t.took[m].Seconds(), float64(t.took[m])/float64(max(t.took[modes[0]], 1)), middle(t.ratios[m]))
	}
	if t.slowest != "" {
		fmt.Fprintf(w, "; most: %s %.1fx", t.slowest, t.ratio)
	}
	fmt.Fprintln(w)
	for _, f := range t.failed {
		fmt.Fprintf(w, "    %s\n", f)
	}
}
