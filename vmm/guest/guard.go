package guest

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"ringo/debug/report"
	"ringo/debug/stackguard"
	"ringo/debug/symbols"
	"ringo/internal/pagetable"
)

// Debug is what a guest is watched for and where that is reported. The zero value watches nothing.
type Debug struct {
	Guard stackguard.Mode
	// Text gets each finding as it is made, and a summary; nil: nowhere.
	Text  io.Writer
	Color bool
	// Folder is where a folder vm-debug-TIME with the reports is made; "": none.
	Folder string
	// Watch are watches as watch.ParseSpec reads them.
	Watch []string
}

// watcher joins the guard, the recorder and the machine.
type watcher struct {
	guard *stackguard.Guard
	rec   *report.Recorder
	dir   string
	used  atomic.Bool // somebody has asked for something
}

// SetGuard arms the stack guard of a running guest, or disarms it: "stacks=detect", "stacks=attribute", "off". Tasks that are asleep are
// watched from their next sleep on.
func (l *Live) SetGuard(mode string) error {
	m, err := stackguard.ParseMode(mode)
	if err != nil {
		return err
	}
	if m == stackguard.Attribute {
		if err := l.g.watches.owner.Prepare(); err != nil {
			return fmt.Errorf("page tracing does not work on this host: %w", err)
		}
	}
	w := l.g.watcher
	w.used.Store(true)
	return w.guard.SetMode(m)
}

// Guard is the guard's mode and what it has counted so far.
func (l *Live) Guard() (mode string, c report.Counters) {
	w := l.g.watcher
	return w.guard.Mode().String(), w.guard.Counters()
}

// Findings are the reports so far.
func (l *Live) Findings() []*report.Event { return l.g.watcher.rec.Events() }

// watch arms what the options ask for. Between build and run.
func (g *guest) watch() error {
	d := &g.o.Debug
	g.watches = g.newWatches()
	if d.Guard == stackguard.Attribute || len(d.Watch) > 0 {
		if err := g.watches.owner.Prepare(); err != nil {
			return fmt.Errorf("page tracing does not work on this host: %w", err)
		}
	}
	for _, text := range d.Watch {
		if _, err := g.watches.add(text, g.watches.text, nil); err != nil {
			return fmt.Errorf("%w: --watch: %w", ErrUsage, err)
		}
	}
	c := stackguard.Config{
		Memory: g.m.Memory(), WindowBase: g.debug.Base, WindowSize: g.debug.Size,
		Translate: func(root, gva uint64) (uint64, bool) {
			w := g.m.Memory().WalkRoot(root, gva)
			return w.PA, w.Result == pagetable.WalkMapped
		},
		Engine: guardEngine{g.watches.owner.Pages(), g.m},
		Still: func(f func()) error {
			release, err := g.m.Pause(context.Background())
			if err != nil {
				return err
			}
			defer release()
			f()
			return nil
		},
		Symbols: func() *symbols.Table {
			t, _ := g.symbols() // without them a report has addresses
			return t
		},
		CallTarget: callTarget, CallLength: callLength,
		Syscall: syscallName, SavedPC: savedPC,
		Now: func() int64 { return int64(g.m.Elapsed()) }, History: g.before,
	}
	w := &watcher{}
	c.Report = func(e *report.Event) {
		e.From = g.came(e)
		w.rec.Add(e)
	}
	w.guard = stackguard.New(c)
	g.watcher = w
	if d.Guard != stackguard.Off || d.Folder != "" {
		w.used.Store(true)
		if err := w.guard.SetMode(d.Guard); err != nil {
			return fmt.Errorf("--guard stacks=%s: %w", d.Guard, err)
		}
	}
	o := report.Options{Text: d.Text, Style: report.Style{Color: d.Color}, Counters: w.guard.Counters, Quiet: d.Guard == stackguard.Off}
	if d.Folder != "" {
		w.dir = report.Folder(d.Folder, time.Now())
		o.Dir = w.dir
		o.Header = report.Header{
			Kernel: kernelBuild(g.o.Kernel), Monitor: monitorBuild(), Arch: hostArch, CPUs: g.o.CPUs, Guard: "stacks=" + d.Guard.String(),
		}
	}
	var err error
	if w.rec, err = report.NewRecorder(o); err != nil {
		return err
	}
	g.bell.Handle(w.guard.Doorbell)
	return nil
}

// judged adds the guest's own end to the findings and closes them. The machine's memory is still there.
func (w *watcher) judged(g *guest, o *Outcome, crash error) error {
	if !w.used.Load() {
		return nil
	}
	var trace error
	if w.dir != "" {
		if trace = w.rec.Attach("trace", g.WriteTrace); errors.Is(trace, errNoTrace) {
			trace = nil // the guest did not get that far: the index says so, as the file is not there
			_ = os.Remove(filepath.Join(w.dir, "trace"))
		}
	}
	if c, ok := crash.(*CrashError); ok {
		w.rec.Add(&report.Event{
			T: 0, Kind: report.KindCrash, Verdict: c.Error(), VCPU: -1, Text: c.Report, History: lastLines(o.Log),
		})
	}
	footer, err := w.rec.Close()
	w.guard.Close()
	o.Debug = &Findings{Events: w.rec.Events(), Footer: footer, Folder: w.dir}
	return errors.Join(err, trace)
}

// Findings are what was reported about a guest.
type Findings struct {
	Events []*report.Event // without repeats; a crash is the last one
	Footer report.Footer
	Folder string // of the report, "" for none
}

// Found is how many findings there are besides a crash and what watches asked for.
func (f *Findings) Found() (n int) {
	if f == nil {
		return 0
	}
	for _, e := range f.Events {
		if e.Kind != report.KindCrash && e.Kind != report.KindWatch {
			n++
		}
	}
	return n
}

// lastLines is the end of the kernel's log for a report.
func lastLines(log []byte) []string {
	const most = 40
	lines := strings.Split(strings.TrimSpace(string(log)), "\n")
	if len(lines) == 1 && lines[0] == "" {
		return nil
	}
	return lines[max(0, len(lines)-most):]
}

// kernelBuild is the Go build id of a kernel, which names exactly this build; the file's name when it has none.
func kernelBuild(name string) string {
	f, err := os.Open(name)
	if err != nil {
		return name
	}
	defer f.Close()
	x, err := elf.NewFile(f)
	if err != nil {
		return name
	}
	s := x.Section(".note.go.buildid")
	const header, longest = 16, 256 // of a note named "Go\0\0"
	if s == nil || s.Size <= header || s.Size > longest {
		return name
	}
	b, err := s.Data()
	if err != nil || len(b) <= header {
		return name
	}
	return strings.TrimRight(string(b[header:]), "\x00")
}

// monitorBuild is the version of this program.
func monitorBuild() string {
	i, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	revision := i.GoVersion
	for _, s := range i.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			revision = s.Value[:12] + " " + revision
		}
	}
	return revision
}

// syscallName is the name of a system call, "" for a number without one. Rarely asked: a table by number would be made at every start.
func syscallName(nr uint64) string {
	for name, n := range syscallNumbers {
		if uint64(n) == nr {
			return name
		}
	}
	return ""
}
