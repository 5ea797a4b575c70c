// Package doctor finds out what this host's /dev/kvm can do by trying it: every row of its
// table is a tiny guest (arch/*/probe) or a system call, with a time limit. It never looks
// at the names of modules or processors, which say little: a paravirtual KVM opens, creates
// VMs and runs ring 3 at full speed, and cannot run a kernel.
package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// Row is what one probe found.
type Row struct {
	// Name says what was tried.
	Name string `json:"name"`
	// Needed: without it no guest can run here. Other rows cost a feature.
	Needed bool `json:"needed"`
	OK     bool `json:"ok"`
	// Skipped: not tried, because a row that it builds on has failed.
	Skipped bool `json:"skipped,omitempty"`
	// Detail is what was measured, or why it failed.
	Detail string `json:"detail"`
	// Advice says what to do about a failure.
	Advice string `json:"advice,omitempty"`
	// Took is how long the probe ran.
	Took time.Duration `json:"took_ns"`
}

// Report is the whole examination.
type Report struct {
	Arch string `json:"arch"`
	Rows []Row  `json:"rows"`
	// Usable: guests can run on this host's /dev/kvm.
	Usable bool `json:"usable"`
	// Verdict is "use /dev/kvm" or "use hosted", Why its reasons on one line.
	Verdict string `json:"verdict"`
	Why     string `json:"why"`
}

// The two verdicts.
const (
	UseKVM    = "use /dev/kvm"
	UseHosted = "use hosted"
)

// limit is how long one probe may take. The slowest honest one takes some 100 ms.
const limit = 3 * time.Second

// check is one probe.
type check struct {
	name   string
	needed bool
	onKVM  bool // is not tried when /dev/kvm cannot be opened
	advice string
	try    func(ctx context.Context) (detail string, err error)
}

const (
	adviceHosted = "run guests with --host hosted (what --host auto does here)"
	adviceTrace  = "watch memory by page tracing instead, which vmm does by itself"
)

// checks are all probes: first the one that opens /dev/kvm, then those that fail fast.
func checks() []check {
	return []check{
		{"open /dev/kvm, create a VM with a vCPU", true, false, "load KVM's module, get access to /dev/kvm (group kvm), or use --host hosted", tryOpen},
		{vectorUnit + " in " + ringZero, true, true, adviceHosted, tryVector},
		{roundTrip + " between " + ringZero + " and " + ringThree, true, true, adviceHosted, tryTrip},
		{timerName, true, true, adviceHosted, tryTimer},
		{"integer code in " + ringZero, true, true, adviceHosted, tryCount},
		{"memfd mapped twice", true, false, "use a kernel with memfd_create(2), Linux 3.17 or later", tryMemfd},
		{"write to a protected page stops at the instruction", false, true, "page tracing and the stack guard need --host hosted", tryProtect},
		{"single step reaches the monitor", false, true, "page tracing and stepping need --host hosted", tryStep},
		{"hardware watchpoint fires", false, true, adviceTrace, tryWatch},
		{"eBPF program on the kvm:kvm_exit tracepoint", false, false, "as root: mount -t tracefs none /sys/kernel/tracing; exit statistics are missing otherwise", tryEBPF},
	}
}

// Examine runs all probes. The error is ctx's only.
func Examine(ctx context.Context) (*Report, error) { return examine(ctx, checks()) }

func examine(ctx context.Context, all []check) (*Report, error) {
	r := &Report{Arch: arch}
	opened := false
	for i, c := range all {
		row := Row{Name: c.name, Needed: c.needed}
		if c.onKVM && !opened {
			row.Skipped, row.Detail = true, "not tried: /dev/kvm cannot be used"
		} else {
			row.attempt(ctx, c)
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			if i == 0 {
				opened = row.OK
			}
		}
		r.Rows = append(r.Rows, row)
	}
	r.judge()
	return r, nil
}

// Verdict says whether guests can run on this host's /dev/kvm, and why not. It stops at the
// first needed probe that fails and takes some 10 ms on a good host. The error is ctx's only.
func Verdict(ctx context.Context) (ok bool, why string, err error) {
	for _, c := range checks() {
		if !c.needed {
			continue
		}
		row := Row{Name: c.name}
		row.attempt(ctx, c)
		if err := ctx.Err(); err != nil {
			return false, "", err
		}
		if !row.OK {
			return false, c.name + ": " + row.Detail, nil
		}
	}
	return true, "", nil
}

// attempt runs the probe within limit.
func (r *Row) attempt(ctx context.Context, c check) { r.attemptWithin(ctx, c, limit) }

// attemptWithin runs the probe. One that does not come back even though its vCPU was kicked is left behind: nothing in
// user space can end it.
func (r *Row) attemptWithin(ctx context.Context, c check, limit time.Duration) {
	type result struct {
		detail string
		err    error
	}
	began := time.Now()
	done := make(chan result, 1)
	probing, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	go func() {
		var res result
		defer func() {
			if p := recover(); p != nil {
				res.err = fmt.Errorf("internal error: %v", p)
			}
			done <- res
		}()
		res.detail, res.err = c.try(probing)
	}()
	last := time.NewTimer(limit + time.Second)
	defer last.Stop()
	var res result
	select {
	case res = <-done:
	case <-last.C:
		res.err = fmt.Errorf("hangs: not back after %v", limit+time.Second)
	}
	r.Took = time.Since(began)
	r.OK, r.Detail = res.err == nil, res.detail
	if res.err != nil {
		r.Detail = res.err.Error()
		if errors.Is(res.err, context.DeadlineExceeded) {
			r.Detail = fmt.Sprintf("hangs: nothing within %v", limit)
		}
		r.Advice = c.advice
	}
}

// judge forms the verdict from the rows.
func (r *Report) judge() {
	var why []string
	for _, row := range r.Rows {
		if row.Needed && !row.OK && !row.Skipped {
			why = append(why, row.Name+": "+row.Detail)
		}
	}
	r.Usable = len(why) == 0
	r.Verdict, r.Why = UseKVM, "everything a guest needs works here"
	if !r.Usable {
		r.Verdict, r.Why = UseHosted, strings.Join(why, "; ")
	}
}

// WriteTable writes the report for people.
func (r *Report) WriteTable(w io.Writer) error {
	var b strings.Builder
	width := 0
	for _, row := range r.Rows {
		width = max(width, len(row.Name))
	}
	for _, row := range r.Rows {
		mark := "ok  "
		switch {
		case row.Skipped:
			mark = "-   "
		case !row.OK && row.Needed:
			mark = "FAIL"
		case !row.OK:
			mark = "no  "
		}
		fmt.Fprintf(&b, "%s  %-*s  %s\n", mark, width, row.Name, row.Detail)
		if row.Advice != "" {
			fmt.Fprintf(&b, "      -> %s\n", row.Advice)
		}
	}
	fmt.Fprintf(&b, "\nVerdict: %s (%s)\n", r.Verdict, r.Why)
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteJSON writes the report for programs.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}
