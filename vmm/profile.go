package main

import (
	"fmt"
	"io"
	"net/url"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"ringo/vmm/control"
)

type profileCommand struct {
	guestName
	Duration time.Duration `default:"5s" help:"How long to look, up to 10m."`
	VCPU     int           `name:"vcpu" default:"-1" help:"Look at this vCPU only."`
	Top      int           `default:"30" help:"How many functions and lines to print."`
	JSON     bool          `name:"json" help:"Write JSON: everything."`
}

// Run is what kong calls.
func (c *profileCommand) Run() error {
	path := "/v1/profile?duration=" + url.QueryEscape(c.Duration.String())
	if c.VCPU >= 0 {
		path += "&vcpu=" + strconv.Itoa(c.VCPU)
	}
	var p control.Profile
	if err := c.get(path, &p); err != nil {
		return err
	}
	if c.JSON {
		return writeJSONLines(os.Stdout, []control.Profile{p})
	}
	_, err := io.WriteString(os.Stdout, profileTables(&p, c.Top))
	return err
}

// profileTables shows the functions in which the time was spent, those that caused it, and the lines.
func profileTables(p *control.Profile, top int) string {
	var b strings.Builder
	percent := func(n uint64) float64 { return 100 * float64(n) / float64(max(p.Samples, 1)) }
	fmt.Fprintf(&b, "%d samples in %v, %.1f%% of them in user mode\n", p.Samples, p.Elapsed.Round(time.Millisecond), percent(p.User))
	table := func(title string, of func(*control.ProfileFunction) uint64) {
		fmt.Fprintf(&b, "\n%s\n", title)
		functions := slices.Clone(p.Functions)
		slices.SortStableFunc(functions, func(x, y control.ProfileFunction) int { return int(of(&y)) - int(of(&x)) })
		for _, f := range functions[:min(top, len(functions))] {
			if of(&f) > 0 {
				fmt.Fprintf(&b, "%6.1f%% %6.1f%%  %s\n", percent(f.Flat), percent(f.Cumulative), printable(f.Function))
			}
		}
	}
	table("   FLAT    CUM.  FUNCTION", func(f *control.ProfileFunction) uint64 { return f.Flat })
	table("   FLAT    CUM.  FUNCTION WITH WHAT IT CALLS", func(f *control.ProfileFunction) uint64 { return f.Cumulative })
	type line struct {
		control.ProfileLine
		function string
	}
	var lines []line
	for _, f := range p.Functions {
		for _, l := range f.Lines {
			lines = append(lines, line{l, f.Function})
		}
	}
	slices.SortStableFunc(lines, func(x, y line) int { return int(y.Flat) - int(x.Flat) })
	fmt.Fprintf(&b, "\n   FLAT  LINE\n")
	for _, l := range lines[:min(top, len(lines))] {
		fmt.Fprintf(&b, "%6.1f%%  %s:%d %s\n", percent(l.Flat), printable(path.Base(l.File)), l.Line, printable(l.function))
	}
	if p.NoNames != "" {
		fmt.Fprintln(&b, "\nno names:", printable(p.NoNames))
	}
	return b.String()
}
