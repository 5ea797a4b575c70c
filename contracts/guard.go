package contracts

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"

	"ringo/debug/report"
	"ringo/debug/stackguard"
	"ringo/vmm/guest"
)

// Watched is what a stack guard said about a guest: every contract must leave it silent.
type Watched struct {
	Reports  int
	Text     string // the reports
	Counters report.Counters
}

// guardOptions are what a guest of the batch is watched for, and where the text goes.
func (b *Batch) guardOptions(text *bytes.Buffer) (guest.Debug, error) {
	mode, err := stackguard.ParseMode(b.Guard)
	return guest.Debug{Guard: mode, Text: text}, err
}

// watched is the guard's word on a guest that has ended, nil without a guard. It belongs to the last program of a batch.
func watched(o guest.Outcome, text []byte) *Watched {
	if o.Debug == nil {
		return nil
	}
	return &Watched{Reports: o.Debug.Found(), Text: string(text), Counters: o.Debug.Footer.Counters}
}

// GuardSummary writes the sum over all guests that were watched; nothing when none was.
func GuardSummary(w io.Writer, judgements []Judgement) {
	var c report.Counters
	allowed := map[string]uint64{}
	var guests, reports int
	for _, j := range judgements {
		g := j.Result.Guard
		if g == nil {
			continue
		}
		guests++
		reports += g.Reports
		n := g.Counters
		c.Engine = n.Engine
		c.Hits += n.Hits
		c.Outside += n.Outside
		c.Dead += n.Dead
		c.Dropped += n.Dropped
		c.Paused += n.Paused
		c.Sleeps += n.Sleeps
		c.Missed += n.Missed
		c.Compared += n.Compared
		for _, a := range n.Allowed {
			allowed[a.Rule] += a.Hits
		}
		for _, u := range n.Unavailable {
			if !slices.Contains(c.Unavailable, u) {
				c.Unavailable = append(c.Unavailable, u)
			}
		}
	}
	if guests == 0 {
		return
	}
	for rule, hits := range allowed {
		c.Allowed = append(c.Allowed, report.Allowed{Rule: rule, Hits: hits})
	}
	slices.SortFunc(c.Allowed, func(a, b report.Allowed) int { return strings.Compare(a.Rule, b.Rule) })
	fmt.Fprintf(w, "stack guard: %d reports in %d guests; %s\n", reports, guests, c.Line(c.Engine))
	for _, u := range c.Unavailable {
		fmt.Fprintln(w, "stack guard: WITHOUT", u)
	}
}
