package contracts

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
)

// Verdict is the judgement on one contract.
type Verdict string

// The verdicts.
const (
	Pass    Verdict = "PASS"
	Fail    Verdict = "FAIL"    // the contract itself says so, or it ended as it did not on Linux
	Diverge Verdict = "DIVERGE" // it passes, and its output differs from Linux's
	XFail   Verdict = "XFAIL"   // FAIL or DIVERGE, listed as known
	XPass   Verdict = "XPASS"   // listed as known, and passes: remove the entry
	Timeout Verdict = "TIMEOUT"
	Crash   Verdict = "CRASH" // its kernel died
)

// Verdicts in the order in which they are shown.
var Verdicts = []Verdict{Pass, XFail, Fail, Diverge, Timeout, Crash, XPass}

// Expected says whether a run with this verdict may end with status 0.
func (v Verdict) Expected() bool { return v == Pass || v == XFail }

// Judgement is a verdict with its reasons.
type Judgement struct {
	Program  Program
	Verdict  Verdict
	Why      string // one line, "" for PASS
	Baseline Result
	Result   Result
	Again    string // what running it again with tracing showed, by Explain
}

// The last line of a contract.
const (
	passLine   = "CONTRACT_PASS"
	failPrefix = "CONTRACT_FAIL"
)

func passes(r Result) bool { return r.How == Exited && r.Code == 0 && lastLine(r.Stdout) == passLine }

func lastLine(b []byte) string {
	lines := bytes.Split(bytes.TrimRight(b, "\n"), []byte("\n"))
	return string(lines[len(lines)-1])
}

// failure is the contract's own word for why it failed, "" if it did not say so.
func failure(r Result) string {
	for line := range strings.Lines(string(r.Stdout)) {
		if strings.HasPrefix(line, failPrefix) {
			return strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line[len(failPrefix):]), ":"))
		}
	}
	return ""
}

// Judge compares what a program did in Ringo with its baseline. known is the reason of a listed divergence, or "".
func Judge(p Program, baseline, r Result, known string) Judgement {
	j := Judgement{Program: p, Baseline: baseline, Result: r}
	j.Verdict, j.Why = compare(baseline, r)
	if j.Verdict == Pass && p.Source != "" && !passes(baseline) {
		// Of a foreign program it is enough that it does the same.
		j.Verdict, j.Why = Fail, "does not end with "+passLine+" on Linux: ended with "+baseline.End()
	}
	switch {
	case known == "":
	case j.Verdict == Pass:
		j.Verdict, j.Why = XPass, "passes, and is listed as a known divergence: remove it from the list ("+known+")"
	case j.Verdict == Fail || j.Verdict == Diverge:
		j.Verdict, j.Why = XFail, known+" ("+j.Why+")"
	}
	return j
}

func compare(baseline, r Result) (Verdict, string) {
	n, want, got := FirstDifference(baseline.Stdout, r.Stdout)
	difference := fmt.Sprintf("line %d: Linux %s, here %s", n, quoted(want), quoted(got))
	switch {
	case r.How == Crashed:
		return Crash, firstLine(r.Report)
	case r.Guard != nil && r.Guard.Reports > 0:
		return Fail, fmt.Sprintf("the stack guard made %d reports: %s", r.Guard.Reports, firstLine(r.Guard.Text))
	case r.How == TimedOut:
		return Timeout, fmt.Sprintf("still running after %v; last output %q", r.Took.Round(1e8), lastLine(r.Stdout))
	case failure(r) != "" && failure(baseline) != "":
		return Fail, "fails on Linux, too: " + failure(baseline)
	case failure(r) != "":
		return Fail, failure(r)
	case r.End() != baseline.End():
		why := fmt.Sprintf("ended with %s, on Linux with %s", r.End(), baseline.End())
		if n > 0 {
			why += "; " + difference
		}
		return Fail, why
	case passes(baseline) && !passes(r):
		return Fail, difference
	case n > 0:
		return Diverge, difference
	}
	if r.Second {
		return Pass, "in its second guest: QEMU killed the first (docs/debugging-boot.md, 6)"
	}
	return Pass, ""
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}

func quoted(s *string) string {
	if s == nil {
		return "ended"
	}
	return fmt.Sprintf("%.200q", *s)
}

// FirstDifference is the number, from 1, of the first line that differs, and the line on both sides, nil where the output
// has ended. 0: they are equal.
func FirstDifference(want, got []byte) (int, *string, *string) {
	if bytes.Equal(want, got) {
		return 0, nil, nil
	}
	a, b := splitLines(want), splitLines(got)
	for i := 0; ; i++ {
		var x, y *string
		if i < len(a) {
			x = &a[i]
		}
		if i < len(b) {
			y = &b[i]
		}
		if x == nil || y == nil || *x != *y {
			return i + 1, x, y
		}
	}
}

// splitLines keeps the ends of lines: a missing one is a difference.
func splitLines(b []byte) []string { return slices.Collect(strings.Lines(string(b))) }

// Divergences are the known ones: contract to reason.
type Divergences map[string]string

// ReadDivergences reads the list: {"AREA/NAME": {"reason": "...", "arch": "arm64"}}, where arch is optional. A file that does not
// exist is an empty list.
func ReadDivergences(path, arch string) (Divergences, error) {
	b, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var entries map[string]struct{ Reason, Arch string }
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&entries); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("%s: something follows the list", path)
	}
	known := Divergences{}
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		e := entries[name]
		if len(strings.TrimSpace(e.Reason)) < 20 {
			return nil, fmt.Errorf("%s: %s: the reason %q explains nothing", path, name, e.Reason)
		}
		if e.Arch == "" || e.Arch == arch {
			known[name] = e.Reason
		}
	}
	return known, nil
}

// Unlisted answers the names on the list that no program has.
func (d Divergences) Unlisted(programs []Program) []string {
	var gone []string
	for _, name := range slices.Sorted(maps.Keys(d)) {
		if !slices.ContainsFunc(programs, func(p Program) bool { return p.Name == name }) {
			gone = append(gone, name)
		}
	}
	return gone
}
