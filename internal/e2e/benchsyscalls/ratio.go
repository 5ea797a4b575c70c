package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
)

// turn is one run of each side: ns per operation by benchmark, 0 for one that could not run.
type turn struct{ linux, ringo map[string]float64 }

// row is one benchmark over all turns.
type row struct {
	Name         string
	Linux, Ringo float64 // ns, medians
	Ratio        float64 // median of each turn's; 0 when it could not run
}

// compare makes rows, the slowest first. A ratio is taken within each turn, so that a computer that slows down between turns
// does not show as a difference.
func compare(turns []turn) []row {
	var rows []row
	for _, name := range slices.Sorted(maps.Keys(turns[0].linux)) {
		var l, r, ratio []float64
		for _, t := range turns {
			l, r = append(l, t.linux[name]), append(r, t.ringo[name])
			if t.linux[name] > 0 && t.ringo[name] > 0 {
				ratio = append(ratio, t.ringo[name]/t.linux[name])
			}
		}
		rows = append(rows, row{name, median(l), median(r), median(ratio)})
	}
	slices.SortStableFunc(rows, func(a, b row) int {
		switch {
		case a.Ratio == b.Ratio:
			return 0
		case a.Ratio == 0 || b.Ratio != 0 && a.Ratio > b.Ratio:
			return -1
		}
		return 1
	})
	return rows
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

func write(w io.Writer, rows []row) {
	fmt.Fprintf(w, "%-24s %12s %12s %8s\n", "", "Linux ns", "Ringo ns", "ratio")
	for _, r := range rows {
		if r.Ratio == 0 {
			fmt.Fprintf(w, "%-24s %12.0f %12.0f  missing\n", r.Name, r.Linux, r.Ringo)
			continue
		}
		fmt.Fprintf(w, "%-24s %12.0f %12.0f %8.2f\n", r.Name, r.Linux, r.Ringo, r.Ratio)
	}
	fmt.Fprintln(w, summary(rows))
}

// summary is the bar's line: how many benchmarks, how many slower than three times Linux, the median.
func summary(rows []row) string {
	var ratios []float64
	slow, missing := 0, 0
	for _, r := range rows {
		if r.Ratio == 0 {
			missing++
			continue
		}
		ratios = append(ratios, r.Ratio)
		if r.Ratio > 3 {
			slow++
		}
	}
	return fmt.Sprintf("%d benchmarks, %d missing: median ratio %.2f, %d slower than 3x Linux", len(rows), missing, median(ratios), slow)
}
