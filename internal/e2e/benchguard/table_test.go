package main

import (
	"strings"
	"testing"
	"time"
)

func TestCompare(t *testing.T) {
	j := func(name, verdict string, ns time.Duration) (j judgement) {
		j.Name, j.Verdict, j.Ringo.NS = name, verdict, int64(ns)
		return j
	}
	modes := []string{"off", "attribute"}
	got := compare(modes, map[string][]judgement{
		"off":       {j("a/x", passes, time.Second), j("a/y", passes, time.Second), j("a/z", "diff", time.Hour), j("a/w", passes, time.Second)},
		"attribute": {j("a/x", passes, 3*time.Second), j("a/y", "guard", time.Hour), j("a/z", passes, time.Second)},
	})
	if got.contracts != 4 || got.both != 1 || got.took["attribute"] != 3*got.took["off"] || got.slowest != "a/x" || got.ratio != 3 {
		t.Errorf("%+v", got)
	}
	// One that the guard stops, and one that is missing: not one that fails without the guard as well.
	if got.broken != 2 || len(got.failed) != 2 {
		t.Errorf("%d broken: %q", got.broken, got.failed)
	}
	var sum table
	sum.add(got)
	sum.add(got)
	var b strings.Builder
	sum.write(&b, "all", modes)
	if sum.both != 2 || !strings.Contains(b.String(), "attribute 6.0 s (3.00x)") || !strings.Contains(b.String(), "only under attribute a/y: guard") {
		t.Error(b.String())
	}
}
