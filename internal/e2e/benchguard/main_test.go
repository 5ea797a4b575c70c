package main

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestTurns(t *testing.T) {
	o := options{modes: []string{"off", "detect"}, rounds: 2}
	if got, want := o.turns(), []string{"off.1", "detect.1", "off.2", "detect.2"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestCompare(t *testing.T) {
	j := func(name, verdict string, ns time.Duration) (j judgement) {
		j.Name, j.Verdict, j.Ringo.NS = name, verdict, int64(ns)
		return j
	}
	modes := []string{"off", "attribute"}
	const sec = time.Second
	got := compare(modes, []judgement{
		j("a/x@off.1", passes, sec), j("a/x@attribute.1", passes, 3*sec), j("a/x@off.2", passes, 9*sec), j("a/x@attribute.2", passes, 6*sec),
		j("a/x@attribute.3", passes, 200*sec), j("a/x@off.3", passes, 2*sec), // medians 2 and 6
		j("a/y@off.1", passes, sec), j("a/y@attribute.1", "FAIL", time.Hour),
		j("a/z@off.1", passes, 4*sec), j("a/z@attribute.1", passes, 4*sec),
		j("a/w@off.1", passes, sec), // its guest ended
	})
	if got.contracts != 4 || got.both != 2 || got.took["off"] != 6*sec || got.took["attribute"] != 10*sec || got.slowest != "a/x" || got.ratio != 3 {
		t.Errorf("%+v", got)
	}
	if len(got.failed) != 1 || middle(got.ratios["attribute"]) != 2 {
		t.Errorf("failed %q, ratios %v", got.failed, got.ratios)
	}
	var b strings.Builder
	got.write(&b, "all", modes)
	if !strings.Contains(b.String(), "attribute 10.0 s (1.67x, median contract 2.00x)") || !strings.Contains(b.String(), "attribute a/y: FAIL") {
		t.Error(b.String())
	}
	if middle([]float64(nil)) != 0 || middle([]float64{3, 1}) != 2 {
		t.Error("medians")
	}
}
