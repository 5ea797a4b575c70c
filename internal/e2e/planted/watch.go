package planted

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"

	"ringo/debug/report"
)

// watched is one event of a watchpoint, as vmm run prints it.
type watched struct {
	len      int
	at       string
	old, new []byte
	task     string
	stack    []report.Frame
}

var (
	watchLine = regexp.MustCompile(`^watch .*: (write|read) of (\d+) bytes at (0x[0-9a-f]+|GPA 0x[0-9a-f]+)`)
	bytesLine = regexp.MustCompile(`^  bytes  ([0-9a-f ]+)  ->  ([0-9a-f ]+)$`)
	byLine    = regexp.MustCompile(`^  by     .*  vCPU \d+.*, task \d+ "([^"]*)"$`)
	frameLine = regexp.MustCompile(`^    #\d+ +0x[0-9a-f]+ ([^ ]+?)(\+0x[0-9a-f]+)?( \(.*\))?$`)
	endLine   = regexp.MustCompile(`(?m)^watches: (\d+) accesses lost,`)
)

// hits reads the events in what vmm run has printed, and how many were lost.
func hits(text string) (all []watched, lost string, err error) {
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if m := watchLine.FindStringSubmatch(line); m != nil {
			w := watched{at: m[3]}
			if _, err := fmt.Sscan(m[2], &w.len); err != nil {
				return nil, "", err
			}
			all = append(all, w)
			continue
		}
		if len(all) == 0 {
			continue
		}
		w := &all[len(all)-1]
		if m := bytesLine.FindStringSubmatch(line); m != nil {
			for i, to := range []*[]byte{&w.old, &w.new} {
				if *to, err = hex.DecodeString(strings.ReplaceAll(m[1+i], " ", "")); err != nil {
					return nil, "", err
				}
			}
		} else if m := byLine.FindStringSubmatch(line); m != nil {
			w.task = m[1]
		} else if m := frameLine.FindStringSubmatch(line); m != nil {
			w.stack = append(w.stack, report.Frame{Function: m[1]})
		}
	}
	m := endLine.FindStringSubmatch(text)
	if m == nil {
		return nil, "", fmt.Errorf("the watch's summary is missing")
	}
	return all, m[1], nil
}

// checkWatch says what is wrong with the events of a watchpoint.
func checkWatch(c *Case, text string, say func(format string, args ...any)) {
	all, lost, err := hits(text)
	if err != nil {
		say("%v", err)
		return
	}
	if lost != "0" {
		say("%s accesses lost", lost)
	}
	p := &c.Plant
	want, by := max(p.Hits, 1), p.By
	if by == nil {
		by = map[string]int{p.Writer: want}
	}
	if c.Control {
		want, by = 0, nil
	}
	if len(all) != want {
		say("%d events, want %d", len(all), want)
	}
	got := make(map[string]int)
	for i, w := range all {
		got[w.task]++
		if f := function(w.stack); f != p.Function {
			say("event %d: function %q, want %q", i, f, p.Function)
			break
		}
		if p.Bytes != 0 && w.len != p.Bytes {
			say("event %d: %d bytes, want %d", i, w.len, p.Bytes)
			break
		}
		if p.New != nil && w.new[0] != p.New[0] {
			say("event %d: byte %#x, want %#x", i, w.new[0], p.New[0])
			break
		}
		// None lost and none doubled: each value follows the one before.
		if p.Counting && (len(w.new) != 8 || binary.LittleEndian.Uint64(w.new) != uint64(got[w.task]) || binary.LittleEndian.Uint64(w.old)+1 != uint64(got[w.task])) {
			say("event %d: % x -> % x is not number %d of %s", i, w.old, w.new, got[w.task], w.task)
			break
		}
	}
	for task, n := range by {
		if got[task] != n {
			say("%d events of %q, want %d", got[task], task, n)
		}
	}
}
