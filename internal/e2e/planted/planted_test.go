package planted

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"ringo/debug/report"
	"ringo/hosted"
	"ringo/internal/plants"
)

func TestMain(m *testing.M) {
	hosted.MaybeServe()
	os.Exit(m.Run())
}

// Every planted bug is found, with the right verdict, function, tasks and bytes; every control leaves the debugger silent.
// RINGO_PLANTS selects guests by a regular expression over ARCH/NAME/CPUS: ^amd64/(dma|page-table).*/1$.
func TestPlants(t *testing.T) {
	if os.Getenv("RINGO_E2E") == "" {
		t.Skip("boots guests: run `make plants`")
	}
	only, err := regexp.Compile(os.Getenv("RINGO_PLANTS"))
	if err != nil {
		t.Fatal(err)
	}
	for _, arch := range hosted.Arches {
		t.Run(arch, func(t *testing.T) {
			t.Parallel() // two machines
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Minute)
			defer cancel()
			var cases []Case
			for _, c := range Cases(arch, []int{1, 2}) {
				if only.MatchString(arch + "/" + c.Name) {
					cases = append(cases, c)
				}
			}
			if len(cases) == 0 {
				t.Skip("none selected")
			}
			err := Run(ctx, arch, cases, os.Stderr, func(c *Case, o *Outcome) {
				keep(t, arch, c, o)
				fmt.Fprintf(os.Stderr, "%s/%s: status %d, %.1f s\n", arch, c.Name, o.Status, o.Took.Seconds())
				t.Run(c.Name, func(t *testing.T) {
					for _, wrong := range Check(c, o) {
						t.Error(wrong)
					}
					if t.Failed() {
						t.Logf("status %d\n%s%s%s", o.Status, o.Stdout, end(o.Stderr), end(o.Trace))
					}
				})
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

// keep writes what a guest has left into the folder RINGO_PLANTS_OUT.
func keep(t *testing.T, arch string, c *Case, o *Outcome) {
	folder := os.Getenv("RINGO_PLANTS_OUT")
	if folder == "" {
		return
	}
	name := filepath.Join(folder, arch+"-"+strings.ReplaceAll(c.Name, "/", "-"))
	text := fmt.Sprintf("status %d, %.1f s\n%s%s%s", o.Status, o.Took.Seconds(), o.Stdout, o.Stderr, o.Trace)
	if err := errors.Join(os.MkdirAll(folder, 0o755), os.WriteFile(name+".txt", []byte(text), 0o644), os.WriteFile(name+".jsonl", []byte(o.Report), 0o644)); err != nil {
		t.Error(err)
	}
}

// end is what fits on a screen or two.
func end(text string) string { return text[max(0, len(text)-6000):] }

// Check must see each thing that can be wrong.
func TestCheck(t *testing.T) {
	plant := plants.Plant{
		Name: "x", Rule: "R1", Function: "inject.newStream", Writer: "client", Victim: "server", Call: "connect", Bytes: 2, New: []byte{0},
	}
	outcome := func(change func(*report.Event), footer func(*report.Footer)) *Outcome {
		e := report.Event{
			V: 1, Seq: 1, Kind: report.KindWrite, ID: "stack-0001", Rule: "R1", Verdict: "v", Because: []string{"b"}, How: "store", Engine: "e",
			Old: report.Hex{1, 1}, New: report.Hex{0, 0}, Task: &report.Task{ID: 2, Name: "client", Call: "connect(2)"},
			Stack:  []report.Frame{{Function: "runtime.memclrNoHeapPointers"}, {Function: "ringo/guestkernel/inject.newStream"}},
			Victim: &report.Victim{What: "kernel stack", Lo: 1, Hi: 2, Task: &report.Task{ID: 1, Name: "server"}},
		}
		f := report.Footer{V: 1, Kind: "counters", Events: 1}
		change(&e)
		footer(&f)
		lines := []any{report.Header{V: 1, Kind: "schema", Schema: "ringo-debug", Kernel: "k", Monitor: "m", Arch: "amd64", CPUs: 1}, e, f}
		var text strings.Builder
		for _, l := range lines {
			b, _ := json.Marshal(l)
			text.Write(append(b, '\n'))
		}
		return &Outcome{Status: 66, Report: text.String()}
	}
	same, none := func(*report.Footer) {}, func(*report.Event) {}
	good := &Case{Plant: plant}
	if wrong := Check(good, outcome(none, same)); wrong != nil {
		t.Error(wrong)
	}
	for name, o := range map[string]*Outcome{
		"rule":     outcome(func(e *report.Event) { e.Rule = "R10" }, same),
		"function": outcome(func(e *report.Event) { e.Stack = e.Stack[:1] }, same),
		"writer":   outcome(func(e *report.Event) { e.Task.Name = "server" }, same),
		"call":     outcome(func(e *report.Event) { e.Task.Call = "write(2)" }, same),
		"victim":   outcome(func(e *report.Event) { e.Victim = nil }, same),
		"bytes":    outcome(func(e *report.Event) { e.Old, e.New = e.Old[1:], e.New[1:] }, same),
		"byte":     outcome(func(e *report.Event) { e.New[1] = 7 }, same),
		"lost":     outcome(none, func(f *report.Footer) { f.Dropped = 1 }),
		"crash":    outcome(func(e *report.Event) { e.Kind = report.KindCrash }, same),
		"report":   {Status: 66, Report: "boo"},
		"silence":  {Status: 0},
		"error":    {Err: "no machine"},
	} {
		if Check(good, o) == nil {
			t.Errorf("%s: nothing wrong is seen", name)
		}
	}
	control := &Case{Plant: plant, Control: true}
	if Check(control, outcome(none, same)) == nil {
		t.Error("a report about a control")
	}
	silent := outcome(func(e *report.Event) { e.Kind = report.KindCrash }, same)
	if Check(control, silent) == nil {
		t.Error("status 66 of a control")
	}
	if silent.Status = 0; Check(control, silent) != nil {
		t.Error(Check(control, silent))
	}
}
