// Package planted tries the debugger on the bugs that the kernel can plant (internal/plants): each in a guest of its own, with
// the flags under which it is to be found, and its control, about which nothing may be said. All guests of a run
// share one command in the hosted machine: starting one for each would cost more than the guests.
package planted

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"ringo/debug/report"
	"ringo/internal/plants"
)

// Case is one guest.
type Case struct {
	Name    string
	Plant   plants.Plant
	Control bool
	CPUs    int
	// Flags replace the plant's when not nil.
	Flags []string
}

// Cases are all guests that make sense for an architecture: every plant and its control, on every number of CPUs.
func Cases(arch string, cpus []int) (cases []Case) {
	for _, p := range plants.All {
		if p.Arches != nil && !slices.Contains(p.Arches, arch) {
			continue
		}
		for _, n := range cpus {
			if p.CPUs != nil && !slices.Contains(p.CPUs, n) {
				continue
			}
			for _, control := range []bool{false, true} {
				c := Case{Plant: p, Control: control, CPUs: n}
				c.Name = fmt.Sprintf("%s/%d", c.inject(), n)
				cases = append(cases, c)
			}
		}
	}
	return cases
}

func (c *Case) inject() string {
	if c.Control {
		return c.Plant.Name + plants.ControlSuffix
	}
	return c.Plant.Name
}

// Request is what the worker runs: `vmm run` with these arguments and a report folder, and then `vmm trace` of Folder/trace.bin. The
// folder's name is put for FOLDER in the arguments.
type Request struct {
	Args    []string
	Timeout time.Duration
	Trace   []string // arguments of vmm trace; nil: none
}

// Folder stands for the guest's own folder.
const Folder = "FOLDER"

// Outcome is what one guest left.
type Outcome struct {
	Status         int
	Stdout, Stderr string
	Report         string // report.jsonl
	Trace          string // the end of what vmm trace says
	Took           time.Duration
	Err            string // why nothing can be said
}

// guestTime is how long a guest may take, in a machine that is emulated and shared.
const guestTime = 3 * time.Minute

// request is the case as the worker gets it. kernel and initrd are the guest's, program the folder of the plants' programs.
func (c *Case) request(kernel, initrd, programs string) Request {
	flags := c.Flags
	if flags == nil {
		flags = c.Plant.Flags
	}
	args := []string{
		"--kernel", kernel, "--initrd", initrd, "--cpus", fmt.Sprint(c.CPUs), "--append", "inject=" + c.inject(), "--timeout", guestTime.String(),
		"--add", programs + "/" + c.Plant.Program + ":/" + c.Plant.Program,
	}
	args = append(args, flags...)
	args = append(args, "--", "/"+c.Plant.Program)
	r := Request{Args: append(args, c.Plant.Args...), Timeout: guestTime + time.Minute}
	if c.Plant.Rule == plants.Trace {
		r.Trace = []string{Folder + "/trace.bin", "--kernel", kernel}
	}
	return r
}

// Exit statuses of vmm.
const (
	statusReport  = 66
	statusTimeout = 124
	statusFailure = 125
)

// Check says what is wrong with an outcome; nothing if it is as the plant's row says.
func Check(c *Case, o *Outcome) (wrong []string) {
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	if o.Err != "" {
		say("%s", o.Err)
		return wrong
	}
	f, err := report.Read(strings.NewReader(o.Report))
	if err != nil {
		say("the report: %v", err)
		return wrong
	}
	if !f.Complete {
		say("the report has no end")
	}
	if f.Footer.Dropped != 0 {
		say("%d writes were lost", f.Footer.Dropped)
	}
	if c.Control && o.Status != 0 {
		say("status %d, want 0", o.Status)
	}
	status := func(want int) {
		if o.Status != want {
			say("status %d, want %d", o.Status, want)
		}
	}
	p := &c.Plant
	says := func(where, text string, list []string) {
		for _, want := range list {
			if !strings.Contains(text, want) {
				say("%s: %q is not said", where, want)
			}
		}
	}
	switch p.Rule {
	case plants.Crash, plants.Timeout:
		if c.Control {
			break
		}
		want := statusFailure
		if p.Rule == plants.Timeout {
			want = statusTimeout
		}
		status(want)
		text := o.Stderr
		for _, e := range f.Events {
			if e.Kind == report.KindCrash {
				text += e.Verdict + "\n" + e.Text + strings.Join(e.History, "\n")
			}
		}
		says("crash report", text, p.Says)
		if p.Function != "" {
			says("crash report", text, []string{p.Function})
		}
		if !regexp.MustCompile(`(?m)^ +\d+ +` + p.Writer + ` +running in prctl\(2\)`).MatchString(text) {
			say("crash report: %q is not running in prctl(2)", p.Writer)
		}
		return wrong
	case plants.Watch:
		status(0)
		checkWatch(c, o.Stderr, say)
		return wrong
	case plants.Trace:
		if c.Control {
			says("trace", o.Trace, p.ControlSays)
		} else {
			status(p.Status)
			says("trace", o.Stderr+o.Trace, p.Says)
		}
		lost := regexp.MustCompile(`lost: (\d+) overwritten`).FindStringSubmatch(o.Trace)
		if p.Name == "trace-wrap" && !c.Control && (lost == nil || lost[1] == "0") {
			say("the events that were overwritten are not counted")
		}
		return wrong
	}
	var found []report.Event
	for _, e := range f.Events {
		if e.Kind != report.KindCrash {
			found = append(found, e)
		}
	}
	if p.Rule == "" && !c.Control && len(f.Footer.Allowed) == 0 {
		say("no suppressed hit is counted")
	}
	if c.Control || p.Rule == "" {
		if len(found) != 0 {
			say("%d reports, the first: %s %s", len(found), found[0].Rule, found[0].Verdict)
		}
		return wrong
	}
	status(statusReport)
	if len(found) != 1 {
		say("%d reports, want 1", len(found))
	}
	if len(found) == 0 {
		return wrong
	}
	e := found[0]
	equal := func(what, got, want string) {
		if got != want {
			say("%s %q, want %q", what, got, want)
		}
	}
	equal("rule", e.Rule, p.Rule)
	if p.Function != "" {
		equal("function", function(e.Stack), p.Function)
	}
	// A frame that was bad when it was saved has no writer, and what user mode writes is in no call.
	if p.Writer != "" && e.Kind == report.KindWrite {
		equal("writer", name(e.Task), p.Writer)
	}
	if p.Call != "" && e.Task != nil && !e.User {
		equal("call", e.Task.Call, p.Call+"(2)")
	}
	if p.Victim != "" {
		if e.Victim == nil {
			say("no victim")
		} else {
			equal("victim", name(e.Victim.Task), p.Victim)
		}
	}
	if p.Bytes != 0 && len(e.New) != p.Bytes && e.Len != uint64(p.Bytes) {
		say("%d bytes of %d, want %d", len(e.New), e.Len, p.Bytes)
	}
	for i, b := range e.New {
		if len(p.New) > 0 && b != p.New[i%len(p.New)] {
			say("byte %d is %#x, want %#x", i, b, p.New[i%len(p.New)])
			break
		}
	}
	return wrong
}

func name(t *report.Task) string {
	if t == nil {
		return ""
	}
	return t.Name
}

// function is the innermost function that is not the Go runtime's, without the folders of its package.
func function(stack []report.Frame) string {
	for _, f := range stack {
		if f.Function == "" || strings.HasPrefix(f.Function, "runtime.") {
			continue
		}
		head, rest, method := strings.Cut(f.Function, "(")
		if method {
			rest = "(" + rest
		}
		return path.Base(head) + rest
	}
	return ""
}
