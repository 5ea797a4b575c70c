package guest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"ringo/debug/symbols"
	"ringo/debug/trace"
	"ringo/internal/debugwindow"
	"ringo/internal/tracewindow"
	"ringo/vmm/control"
)

// traceWord turns the flight recorder on, in debug=A,B,... on the kernel command line.
const traceWord = "htrace"

// traceEvents is how many events a CPU the flight recorder keeps, where memory allows.
const traceEvents = 32 << 10

// traceSize is the size of the trace window: none if the command line does not want one.
func traceSize(cpus int, memory uint64, line string) uint64 {
	if !debugWords(line)[traceWord] {
		return 0
	}
	events := traceEvents
	for tracewindow.SizeFor(cpus, events) > memory/16 {
		events /= 2
	}
	return tracewindow.SizeFor(cpus, events)
}

// debugWords are the words of debug=A,B,... on a kernel command line.
func debugWords(line string) map[string]bool {
	words := map[string]bool{}
	for _, w := range strings.Fields(line) {
		if list, ok := strings.CutPrefix(w, "debug="); ok {
			for word := range strings.SplitSeq(list, ",") {
				words[word] = true
			}
		}
	}
	return words
}

// commandLine is the kernel command line with what other options ask for.
func (g *guest) commandLine() string {
	line := g.o.CommandLine
	words := debugWords(line)
	var add []string
	if folder := g.o.Debug.Folder != ""; (g.o.Trace != "" || folder) && !words[traceWord] {
		add = append(add, traceWord)
	}
	if g.o.Debug.Folder != "" && !words[frameWord] { // reports tell the whole story
		add = append(add, frameWord)
	}
	if len(add) > 0 {
		line = strings.TrimSpace(line + " debug=" + strings.Join(add, ","))
	}
	return line
}

// Errors of a guest without a trace.
var (
	errTraceOff = fmt.Errorf("%w: this guest has no flight recorder: start it with --trace FILE or --append debug=htrace", control.ErrState)
	errNoTrace  = errors.New("no trace: the kernel did not get as far as starting its flight recorder")
)

// WriteTrace copies the trace window: what trace.ReadFile reads.
func (g *guest) WriteTrace(w io.Writer) error {
	if g.trace.Size == 0 {
		return errTraceOff
	}
	if _, err := tracewindow.Open(g.m.Memory(), g.trace.Base, g.trace.Size); errors.Is(err, tracewindow.ErrAbsent) {
		return fmt.Errorf("%w: %w", errNoTrace, err)
	} else if err != nil {
		return fmt.Errorf("the flight recorder cannot be read: %w", err)
	}
	buf := make([]byte, 64<<10)
	for at := uint64(0); at < g.trace.Size; {
		n := g.m.Memory().Peek(g.trace.Base+at, buf[:min(uint64(len(buf)), g.trace.Size-at)])
		if n == 0 {
			break
		}
		if _, err := w.Write(buf[:n]); err != nil {
			return err
		}
		at += uint64(n)
	}
	return nil
}

// WriteTrace copies a running guest's flight recorder; debug/trace reads the copy.
func (l *Live) WriteTrace(w io.Writer) error { return l.g.WriteTrace(w) }

// saveTrace writes Options.Trace.
func (g *guest) saveTrace() error {
	if g.o.Trace == "" {
		return nil
	}
	f, err := os.Create(g.o.Trace)
	if err != nil {
		return fmt.Errorf("--trace: %w", err)
	}
	if err := errors.Join(g.WriteTrace(f), f.Close()); err != nil {
		return fmt.Errorf("--trace %s: %w", g.o.Trace, err)
	}
	return nil
}

// How much of the past a crash report shows.
const (
	reportEvents = 40
	reportTasks  = 24
)

// writeHistory adds to a crash report what the guest left in memory: its tasks, whose stacks lie where, and the last
// events.
func (g *guest) writeHistory(b *strings.Builder, syms *symbols.Table) {
	if w, err := debugwindow.Open(g.m.Memory(), g.debug.Base, g.debug.Size); err == nil {
		g.writeTasks(b, w, syms)
	}
	t, err := g.readTrace()
	if err != nil {
		if !errors.Is(err, tracewindow.ErrAbsent) {
			fmt.Fprintf(b, "\nlast events: %v\n", err)
		}
		return
	}
	fmt.Fprintf(b, "\nlast events, of %d\n", len(t.Events))
	// A strings.Builder takes every write.
	_ = t.Select(trace.Filter{Last: reportEvents}).WriteText(b, t, syms)
	_ = t.WriteSummary(b)
}

// readTrace reads the flight recorder, with the allocator's names.
func (g *guest) readTrace() (*trace.Trace, error) {
	t, err := trace.Read(g.m.Memory(), g.trace.Base, g.trace.Size)
	if err != nil {
		return nil, err
	}
	if w, err := debugwindow.Open(g.m.Memory(), g.debug.Base, g.debug.Size); err == nil {
		var owners []string
		for _, o := range w.Header.Frames.Owners[:w.Header.Frames.NumOwners] {
			owners = append(owners, debugwindow.Printable(o[:]))
		}
		t.SetOwners(owners)
	}
	return t, nil
}

// writeTasks lists tasks with their stacks, those that are there first.
func (g *guest) writeTasks(b *strings.Builder, w *debugwindow.Window, syms *symbols.Table) {
	var alive []debugwindow.Entry
	for _, e := range w.Tasks() {
		if e.State != debugwindow.TaskDead {
			alive = append(alive, e)
		}
	}
	if len(alive) == 0 {
		return
	}
	fmt.Fprintf(b, "\ntasks\n")
	for i, e := range alive {
		if i == reportTasks {
			fmt.Fprintf(b, "    and %d more\n", len(alive)-i)
			break
		}
		call := ""
		if nr, ok := e.Syscall(); ok {
			if call = " in " + syscallName(nr) + "(2)"; syscallName(nr) == "" {
				call = fmt.Sprintf(" in system call %d", nr)
			}
		}
		fmt.Fprintf(b, "    %-5d %-16s %s%s, cpu %d\n", e.TID, e.Name, e.State, call, e.CPU)
		if e.Damage != "" || e.Torn {
			fmt.Fprintf(b, "          the entry is damaged or was being written: %s\n", e.Damage)
		}
		for _, s := range e.Valid() {
			sp := ""
			if s.SP != 0 {
				sp = fmt.Sprintf(", left with sp %#x", s.SP)
			}
			fmt.Fprintf(b, "          %s [%#x, %#x)%s\n", s.Kind, s.Lo, s.Hi, sp)
		}
		if e.State == debugwindow.TaskParked {
			var path []string
			for _, pc := range e.Where {
				if s, ok := syms.Lookup(pc - 1); ok && pc != 0 && len(path) < 5 {
					path = append(path, s.Function)
				}
			}
			if len(path) > 0 {
				fmt.Fprintf(b, "          asleep in %s\n", strings.Join(path, " <- "))
			}
		}
	}
}
