package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"ringo/vmm/control"
)

type topCommand struct {
	guestName
	Interval time.Duration `default:"1s" help:"How long to count for each picture."`
	Once     bool          `help:"One picture, without clearing the screen, for a log."`
	JSON     bool          `name:"json" help:"JSON lines, counted from the beginning."`
}

// Run is what kong calls.
func (c *topCommand) Run() error {
	cl, err := client(c.Name)
	if err != nil {
		return err
	}
	ctx, cancel := interruptible()
	defer cancel()
	stream, err := cl.Stream(ctx, "/v1/top?interval="+url.QueryEscape(c.Interval.String()))
	if err != nil {
		return err
	}
	defer stream.Close()
	clear := ""
	if !c.Once && !c.JSON && term.IsTerminal(int(os.Stdout.Fd())) {
		clear = "\x1b[H\x1b[2J"
	}
	var before control.Top
	for in := json.NewDecoder(stream); ; {
		var now control.Top
		if err := in.Decode(&now); err != nil {
			if ctx.Err() != nil || errors.Is(err, io.EOF) {
				return nil
			}
			return fmt.Errorf("%s: %w", c.Name, control.ErrEnded)
		}
		if c.JSON {
			if err := json.NewEncoder(os.Stdout).Encode(now); err != nil {
				return err
			}
		} else if _, err := io.WriteString(os.Stdout, clear+topPicture(c.Name, &before, &now)); err != nil {
			return err
		}
		if c.Once {
			return nil
		}
		before = now
	}
}

// topPicture shows what happened between two moments.
func topPicture(name string, before, now *control.Top) string {
	var b strings.Builder
	span := (now.Elapsed - before.Elapsed).Seconds()
	if span <= 0 {
		span = 1
	}
	old := map[string]control.TopExit{}
	for _, e := range before.Exits {
		old[e.Reason] = e
	}
	fmt.Fprintf(&b, "%s, %.1f s: %.0f guest page faults a second, %d events not counted\n\n", printable(name), span, float64(now.Faults-before.Faults)/span, now.Lost-before.Lost)
	fmt.Fprintf(&b, "%-26s %10s %9s %9s %9s %9s\n", "EXIT", "PER S", "OUT %", "MEDIAN", "P99", "MEAN")
	for _, e := range now.Exits {
		o := old[e.Reason]
		n := e.Count - o.Count
		if n == 0 {
			continue
		}
		spent := e.Time - o.Time
		counts := difference(e.Histogram, o.Histogram)
		fmt.Fprintf(&b, "%-26s %10.0f %9.1f %9v %9v %9v\n", printable(e.Reason), float64(n)/span, 100*spent.Seconds()/span,
			quantile(counts, 0.5), quantile(counts, 0.99), short(spent/time.Duration(n)))
	}
	if len(now.Frames) > 0 {
		fmt.Fprintf(&b, "\n%-18s %10s  %s\n", "FRAME", "FAULTS", "OWNER")
	}
	for _, f := range now.Frames[:min(len(now.Frames), 8)] {
		fmt.Fprintf(&b, "%#-18x %10d  %s\n", uint64(f.GPA), f.Count, printable(f.Owner))
	}
	return b.String() + "\n"
}

func difference(now, before []uint64) []uint64 {
	out := append([]uint64{}, now...)
	for i := range out {
		if i < len(before) {
			out[i] -= before[i]
		}
	}
	return out
}

// quantile is the time that a part q of the counts does not exceed, as the upper end of its power of two.
func quantile(counts []uint64, q float64) string {
	var total, sum uint64
	for _, n := range counts {
		total += n
	}
	for i, n := range counts {
		if sum += n; total > 0 && float64(sum) >= q*float64(total) && i < 62 {
			return "<" + short(time.Duration(2)<<i).String()
		}
	}
	return "-"
}

// short drops digits that say nothing.
func short(d time.Duration) time.Duration {
	switch {
	case d >= time.Second:
		return d.Round(10 * time.Millisecond)
	case d >= time.Millisecond:
		return d.Round(10 * time.Microsecond)
	case d >= time.Microsecond:
		return d.Round(10 * time.Nanosecond)
	}
	return d
}
