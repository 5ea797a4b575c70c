package guest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"ringo/debug/hit"
	"ringo/debug/pagetrace"
	"ringo/debug/report"
	"ringo/debug/stackguard"
	"ringo/debug/symbols"
	"ringo/debug/watch"
	"ringo/internal/debugwindow"
	"ringo/internal/pagetable"
	"ringo/vmm/doctor"
	"ringo/vmm/machine"
	"ringo/vmm/tracing"
)

// ErrWatched is a guest that a watch with "stop" has ended.
var ErrWatched = errors.New("a watch ended the guest")

// watches are the user's watches of a guest.
type watches struct {
	g     *guest
	owner *watch.Owner

	mu   sync.Mutex
	list []*userWatch
	text io.Writer // of the summary
	vars *symbols.Variables
}

// userWatch is one of them; it is its sink.
type userWatch struct {
	ws   *watches
	spec *watch.Spec
	w    *watch.Watch
	text io.Writer
	// stopped is told of a hit that is to stop the guest; nil: that ends it.
	stopped func(w *hit.Write)

	hits, filtered uint64
}

// newWatches makes the owner of the guest's debug state. Between build and run.
func (g *guest) newWatches() *watches {
	ws := &watches{g: g, text: g.o.Debug.Text}
	if ws.text == nil {
		ws.text = io.Discard
	}
	ws.owner = tracing.New(g.m, tracing.Options{
		Probe: func() (pages, registers error) { return doctor.Debugging(context.Background()) },
		FunctionStart: func(pc uint64) (uint64, bool) {
			t, _ := g.symbols()
			s, ok := t.Lookup(pc)
			return s.Start, ok
		},
		Walk: g.kernelWalk,
	})
	return ws
}

// kernelWalk is the way of a GVA by the page tables of vCPU 0, or those of the boot: the vCPUs get their own when they start,
// and the kernel's half of the address space is the same in all.
func (g *guest) kernelWalk(gva uint64) pagetable.Walk {
	if r, err := g.m.Registers(0); err == nil && g.m.Elapsed() > 0 {
		if w := g.m.Memory().Walk(r, gva); w.Result == pagetable.WalkMapped {
			return w
		}
	}
	return g.m.Memory().WalkRoot(g.entry.Root, gva)
}

// Resolve implements watch.Resolver: variables, and functions by their names.
func (ws *watches) Resolve(name string) (gva, size uint64, err error) {
	if ws.vars == nil {
		f, err := os.Open(ws.g.o.Kernel)
		if err != nil {
			return 0, 0, err
		}
		defer f.Close()
		if ws.vars, err = symbols.LoadVariables(f, ws.g.entry.Image.Virt); err != nil {
			return 0, 0, err
		}
	}
	gva, size, err = ws.vars.Resolve(name)
	if err != nil {
		if t, _ := ws.g.symbols(); t != nil {
			if at, ok := t.Find(name); ok {
				return at, 8, nil
			}
		}
	}
	return gva, size, err
}

// add begins a watch whose hits are written to out. Any goroutine but a vCPU's.
func (ws *watches) add(text string, out io.Writer, stopped func(*hit.Write)) (*userWatch, error) {
	spec, err := watch.ParseSpec(text)
	if err != nil {
		return nil, err
	}
	u := &userWatch{ws: ws, spec: spec, text: out, stopped: stopped}
	ws.mu.Lock()
	q, err := spec.Request(ws, u)
	ws.mu.Unlock()
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", text, err)
	}
	w, err := ws.owner.Add(q)
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", text, err)
	}
	ws.mu.Lock()
	defer ws.mu.Unlock()
	u.w = w
	ws.list = append(ws.list, u)
	return u, nil
}

// Hit implements hit.Sink.
func (u *userWatch) Hit(w *hit.Write) hit.Action {
	ws := u.ws
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if !u.spec.If.Holds(w, ws.task) {
		u.filtered++
		return hit.Continue
	}
	u.hits++
	if u.hits > maxPrinted {
		return u.answer(w)
	}
	var b strings.Builder
	frames := ws.unwind(w)
	u.describe(&b, w, frames)
	if ws.g.o.Debug.Folder != "" {
		ws.g.watcher.rec.Add(u.event(w, frames))
	}
	if u.hits == maxPrinted {
		fmt.Fprintf(&b, "watch %s: further hits are only counted\n", u.spec.Text)
	}
	_, _ = io.WriteString(u.text, b.String()) // a terminal that has gone away is no reason to disturb the guest
	return u.answer(w)
}

// maxPrinted is how many hits of a watch are printed: a watch of something busy would fill disks.
const maxPrinted = 10_000

func (u *userWatch) answer(w *hit.Write) hit.Action {
	switch {
	case !u.spec.Stop:
	case u.stopped == nil:
		return hit.End
	default:
		u.stopped(w)
	}
	return hit.Continue
}

// unwind is the stack of an instruction of the kernel; the kernel's symbols say nothing about a program.
func (ws *watches) unwind(w *hit.Write) []symbols.Frame {
	if w.Guest == nil || w.VCPU < 0 {
		return nil
	}
	table, _ := ws.g.symbols()
	if w.Registers.User {
		table = nil
	}
	at := w.Registers
	if w.PC != 0 {
		at.PC = w.PC
	}
	return table.Unwind(at.Start(), symbols.Memory{
		Word: func(gva uint64) (uint64, bool) { return word(w.Guest.ReadVirtual(gva, 8)) },
		CallTarget: func(ret uint64) (uint64, bool) {
			return callTarget(w.Guest.ReadVirtual(ret-uint64(callLength), callLength), ret)
		},
	})
}

// event is a hit for the report folder.
func (u *userWatch) event(w *hit.Write, frames []symbols.Frame) *report.Event {
	e := &report.Event{
		T: w.Time, Kind: report.KindWatch, Verdict: fmt.Sprintf("%s: %s of %d bytes", u.spec.Text, w.Access, w.Len),
		VCPU: w.VCPU, How: w.Kind.String(), Insn: w.Instruction, Source: w.Source, User: w.Registers.User,
		PC: report.Address(w.PC), SP: report.Address(w.Registers.SP), Flags: report.Address(w.Registers.Flags),
		GVA: report.Address(w.GVA), GPA: report.Address(w.GPA), Len: uint64(w.Len), At: report.Address(w.GVA),
		Old: report.Hex(w.Old), New: report.Hex(w.New), Stack: report.Frames(frames), Engine: w.Engine.String(), Race: w.Race,
	}
	if t, ok := u.ws.taskOf(w); ok {
		e.Task = &report.Task{ID: int(t.TID), Name: debugwindow.Printable(t.Comm[:])}
		if nr, ok := t.Syscall(); ok && syscallName(nr) != "" {
			e.Task.Call = syscallName(nr) + "(2)"
		}
	}
	return e
}

// task is the thread id of the task in whose context a hit was made, 0 if that is not known.
func (ws *watches) task(w *hit.Write) int {
	e, ok := ws.taskOf(w)
	if !ok {
		return 0
	}
	return int(e.TID)
}

func (ws *watches) taskOf(w *hit.Write) (debugwindow.Entry, bool) {
	if w.VCPU < 0 || w.Guest == nil {
		return debugwindow.Entry{}, false
	}
	win, err := debugwindow.Open(ws.g.m.Memory(), ws.g.debug.Base, ws.g.debug.Size)
	if err != nil {
		return debugwindow.Entry{}, false
	}
	r := w.Registers
	return win.CurrentTask(debugwindow.VCPU{Index: w.VCPU, User: r.User, SP: r.SP, G: r.Goroutine}, func(gva uint64, p []byte) int {
		return copy(p, w.Guest.ReadVirtual(gva, len(p)))
	})
}

// shownBytes bounds the bytes of a hit that are printed.
const shownBytes = 32

// describe writes a hit for people.
func (u *userWatch) describe(b *strings.Builder, w *hit.Write, frames []symbols.Frame) {
	where := fmt.Sprintf("GPA %#x", w.GPA)
	if w.GVA != 0 {
		where = fmt.Sprintf("%#x (GPA %#x)", w.GVA, w.GPA)
	}
	silent := ""
	if w.Silent && w.Access == hit.Written {
		silent = ", the same bytes as before"
	}
	fmt.Fprintf(b, "watch %s: %s of %d bytes at %s%s  t=+%.6fs  [%s]\n", u.spec.Text, w.Access, w.Len, where, silent, time.Duration(w.Time).Seconds(), w.Engine)
	if w.Access == hit.Read {
		fmt.Fprintf(b, "  bytes  %s\n", hexBytes(w.New))
	} else {
		fmt.Fprintf(b, "  bytes  %s  ->  %s\n", hexBytes(w.Old), hexBytes(w.New))
	}
	if !w.Kind.ByInstruction() {
		fmt.Fprintf(b, "  by     %s %s\n", w.Kind, w.Source)
		if w.VCPU < 0 {
			return
		}
	}
	mode := ""
	if w.Registers.User {
		mode = " in user mode"
	}
	task := ""
	if e, ok := u.ws.taskOf(w); ok {
		task = fmt.Sprintf(", task %d %q", e.TID, debugwindow.Printable(e.Comm[:]))
	}
	fmt.Fprintf(b, "  by     %s  (%s)  vCPU %d%s%s\n", w.Instruction, w.Kind, w.VCPU, mode, task)
	for i, f := range frames {
		fmt.Fprintf(b, "    #%-2d %#016x %s\n", i, f.PC, f.Symbol)
	}
}

// line is a hit in one line, for a debugger that shows the stack by itself.
func (ws *watches) line(w *hit.Write) string {
	by := w.Kind.String() + " " + w.Source
	if w.Kind.ByInstruction() {
		by = w.Instruction
	}
	if w.VCPU >= 0 {
		by += fmt.Sprintf(", vCPU %d", w.VCPU)
	}
	if e, ok := ws.taskOf(w); ok {
		by += fmt.Sprintf(", task %d %q", e.TID, debugwindow.Printable(e.Comm[:]))
	}
	at := fmt.Sprintf("GPA %#x", w.GPA)
	if w.GVA != 0 {
		at = fmt.Sprintf("%#x", w.GVA)
	}
	bytes := hexBytes(w.New)
	if w.Access == hit.Written {
		bytes = hexBytes(w.Old) + "  ->  " + bytes
	}
	return fmt.Sprintf("[%s] %s of %d bytes at %s: %s  by %s\n", w.Engine, w.Access, w.Len, at, bytes, by)
}

func hexBytes(b []byte) string {
	if len(b) > shownBytes {
		return fmt.Sprintf("% x ... (%d bytes)", b[:shownBytes], len(b))
	}
	return fmt.Sprintf("% x", b)
}

// summary says what there is to say when the guest has ended, above all that there was nothing.
func (ws *watches) summary() {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if len(ws.list) == 0 {
		return
	}
	c := ws.owner.Counters()
	for _, u := range ws.list {
		fmt.Fprintf(ws.text, "watch %s: %d hits, %d that the condition excludes [%s]\n", u.spec.Text, u.hits, u.filtered, ws.owner.Engine(u.w))
	}
	fmt.Fprintf(ws.text, "watches: %d accesses lost, %d on the same pages elsewhere, %d instructions stepped over\n", c.Lost, c.Elsewhere, c.Steps)
}

// remove ends a watch.
func (ws *watches) remove(u *userWatch) error {
	err := ws.owner.Remove(u.w.ID)
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.list = slices.DeleteFunc(ws.list, func(x *userWatch) bool { return x == u })
	return err
}

// Watch begins a watch of a running guest, as watch.ParseSpec reads it: each hit is written to out, while the guest stands still, so that out
// must not wait for long. engine is what serves it. remove ends it, once, before the guest's end function returns.
func (l *Live) Watch(spec string, out io.Writer) (engine string, remove func() error, err error) {
	spec, err = l.expand(spec)
	if err != nil {
		return "", nil, err
	}
	_, _ = l.Symbols() // which takes seconds: not at the first hit, for which the guest stands still
	u, err := l.g.watches.add(spec, out, nil)
	if err != nil {
		return "", nil, err
	}
	return l.g.watches.owner.Engine(u.w).String(), sync.OnceValue(func() error { return l.g.watches.remove(u) }), nil
}

// expand makes the watch of a range out of "stack task TID[,OPTIONS]": what a sleeping task has on its stack, now. Others stay as they are.
func (l *Live) expand(spec string) (string, error) {
	tid, ok := strings.CutPrefix(spec, "stack task ")
	if !ok {
		return spec, nil
	}
	tid, options, _ := strings.Cut(tid, ",")
	n, err := number(strings.TrimSpace(tid))
	if err != nil {
		return "", err
	}
	w, err := l.window()
	if err != nil {
		return "", err
	}
	for _, e := range w.Tasks() {
		if uint64(e.TID) != n {
			continue
		}
		for _, s := range e.Valid() {
			if s.SP == 0 || s.SP < s.Lo || s.SP >= s.Hi {
				continue
			}
			spec = fmt.Sprintf("%#x,len=%d", s.SP, s.Hi-s.SP)
			if options != "" {
				spec += "," + options
			}
			return spec, nil
		}
	}
	return "", fmt.Errorf("%w: no sleeping task %d with a stack of which the kernel tells", errMonitor, n)
}

// Owner is the owner of the guest's debug state, for debuggers.
func (l *Live) Owner() *watch.Owner { return l.g.watches.owner }

// found is how many hits there were.
func (ws *watches) found() (n uint64) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for _, u := range ws.list {
		n += u.hits
	}
	return n
}

// guardEngine is the page engine as the stack guard knows it.
type guardEngine struct {
	*pagetrace.Engine
	m *machine.Machine
}

func (e guardEngine) Watch(ranges []stackguard.Range, sink hit.Sink) (stackguard.Watch, error) {
	list := make([]pagetrace.Range, len(ranges))
	for i, r := range ranges {
		list[i] = pagetrace.Range(r)
	}
	var w *pagetrace.Watch
	err := e.m.Quiet(func() (err error) {
		w, err = e.Engine.Watch(list, pagetrace.Options{}, sink)
		return err
	})
	if err != nil {
		return nil, err
	}
	return w, nil
}
