package contracts

import (
	"context"
	"fmt"
	"io"
	"strings"
)

// Explain runs what did not do as expected once more, traced on both sides, and keeps in each judgement what that shows: of at most `most`
// contracts. Errors are kept in the same place: the verdicts stand without.
func Explain(ctx context.Context, s *Suite, judgements []Judgement, numbers map[string]int, most int) {
	for i := range judgements {
		j := &judgements[i]
		if j.Verdict.Expected() || j.Verdict == XPass || most == 0 {
			continue
		}
		most--
		var text strings.Builder
		if _, err := Diff(ctx, &text, s, j.Program, numbers); err != nil {
			fmt.Fprintf(&text, "run again with tracing: %v\n", err)
		}
		j.Again = text.String()
	}
}

// Diff runs one program traced on both sides and writes where they part: the first line of output, and the first system call.
// It says whether they do. numbers are the architecture's system calls by name.
func Diff(ctx context.Context, w io.Writer, s *Suite, p Program, numbers map[string]int) (differ bool, err error) {
	run := func(m Machine, on string) (got Result, err error) {
		b := s.Base
		b.Trace = true
		s.enter(&b, on, p)
		found := false
		err = m.Run(ctx, b, func(r Result) { got, found = r, true })
		if err == nil && !found {
			err = fmt.Errorf("%s: no result of %s", on, p.Name)
		}
		return got, err
	}
	linux, err := run(s.Linux, OnLinux)
	if err != nil {
		return false, err
	}
	ringo, err := run(s.Ringo, OnRingo)
	if err != nil {
		return false, err
	}
	j := Judge(p, linux, ringo, "")
	fmt.Fprintf(w, "%s: %s %s\n", p.Name, j.Verdict, j.Why)
	if n, want, got := FirstDifference(linux.Stdout, ringo.Stdout); n > 0 {
		fmt.Fprintf(w, "output, line %d:\n", n)
		before := splitLines(linux.Stdout)[max(0, n-4) : n-1]
		fmt.Fprint(w, "   ", strings.Join(before, "   "))
		fmt.Fprintf(w, "-  %s\n+  %s\n", quoted(want), quoted(got))
	}
	if ringo.Report != "" {
		fmt.Fprintf(w, "the monitor's report:\n%s", indent(ringo.Report))
	}
	WriteTraces(w, linux.Calls, ringo.Calls, numbers)
	return j.Verdict != Pass, nil
}
