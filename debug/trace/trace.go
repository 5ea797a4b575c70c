// Package trace decodes the kernel's flight recorder (internal/tracewindow), from a guest's memory, living or dead, or from a
// file that is a copy of the window: as text, one event a line, or as a timeline for Perfetto (ui.perfetto.dev).
//
// What an event's fields are called and how they are shown is read from the trace itself. System calls get their names
// from the architecture that the trace names, code addresses from the kernel's symbols if they are given.
package trace

import (
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	amd64 "ringo/arch/amd64/abi"
	arm64 "ringo/arch/arm64/abi"
	"ringo/debug/symbols"
	"ringo/internal/debugwindow"
	"ringo/internal/tracewindow"
)

// Trace is a decoded trace.
type Trace struct {
	Header tracewindow.Header
	Events []tracewindow.Event // in order
	Lost   tracewindow.Lost

	calls  map[uint16]string
	kinds  [tracewindow.NumKinds]meaning
	owners []string
}

// meaning is a kind's schema, made printable.
type meaning struct {
	name    string
	fields  [6]string
	formats [6]tracewindow.Format
}

// Arch is the guest's architecture, "" for one that is not known.
func (t *Trace) Arch() string {
	switch elf.Machine(t.Header.Machine) {
	case elf.EM_X86_64:
		return "amd64"
	case elf.EM_AARCH64:
		return "arm64"
	}
	return ""
}

// Reader reads a trace again and again while its guest runs.
type Reader struct {
	w  *tracewindow.Window
	at tracewindow.Position
	t  *Trace
}

// NewReader opens the trace at an address of guest memory. Errors are those of tracewindow.Open.
func NewReader(mem tracewindow.Memory, base, size uint64) (*Reader, error) {
	w, err := tracewindow.Open(mem, base, size)
	if err != nil {
		return nil, err
	}
	return &Reader{w: w, t: newTrace(w.Header)}, nil
}

// Next answers what has been written since the last call, all there is at the first. Lost.Overwritten counts the rings' whole history.
func (r *Reader) Next() *Trace {
	t := *r.t
	t.Events, r.at, t.Lost = r.w.Events(r.at)
	return &t
}

// Last answers the last n events of each CPU, whatever Next has answered.
func (r *Reader) Last(n uint64) *Trace {
	t := *r.t
	t.Events, t.Lost = r.w.Last(n), tracewindow.Lost{}
	return &t
}

// Read reads all of a trace.
func Read(mem tracewindow.Memory, base, size uint64) (*Trace, error) {
	r, err := NewReader(mem, base, size)
	if err != nil {
		return nil, err
	}
	return r.Next(), nil
}

// maxFile bounds a trace file, in bytes.
const maxFile = 1 << 30

// ReadFile reads a trace that was saved: a copy of the window.
func ReadFile(r io.ReaderAt, size int64) (*Trace, error) {
	if size > maxFile {
		return nil, fmt.Errorf("trace of %d MiB, at most %d", size>>20, maxFile>>20)
	}
	return Read(file{r, size}, 0, uint64(size))
}

// file is a trace in a file as memory from address 0.
type file struct {
	r    io.ReaderAt
	size int64
}

// Peek implements tracewindow.Memory.
func (f file) Peek(at uint64, p []byte) int {
	if at >= uint64(f.size) {
		return 0
	}
	p = p[:min(uint64(len(p)), uint64(f.size)-at)]
	n, err := f.r.ReadAt(p, int64(at))
	if err != nil && !errors.Is(err, io.EOF) {
		return 0
	}
	return n
}

func newTrace(h tracewindow.Header) *Trace {
	t := &Trace{Header: h, calls: map[uint16]string{}}
	numbers := map[string]map[string]int{"amd64": amd64.SyscallNumbers, "arm64": arm64.SyscallNumbers}[t.Arch()]
	for name, nr := range numbers {
		t.calls[uint16(nr)] = name
	}
	for i := range t.kinds {
		k, m := &h.Kinds[i], &t.kinds[i]
		m.name = debugwindow.Printable(k.Name[:])
		for f := range k.Fields {
			m.fields[f], m.formats[f] = debugwindow.Printable(k.Fields[f][:]), k.Formats[f]
		}
	}
	return t
}

// SetOwners gives the names of frame owners (debugwindow.FrameTable).
func (t *Trace) SetOwners(names []string) { t.owners = names }

// Call is the name of a system call.
func (t *Trace) Call(nr uint16) string {
	if name := t.calls[nr]; name != "" {
		return name
	}
	return fmt.Sprintf("syscall_%d", nr)
}

// ticks is a number of counter ticks as a time.
func (t *Trace) ticks(n uint64) time.Duration {
	hz := t.Header.CounterHz
	if hz == 0 {
		return 0
	}
	return time.Duration(n/hz)*time.Second + time.Duration(float64(n%hz)*1e9/float64(hz))
}

// At is an event's time since the trace began.
func (t *Trace) At(e *tracewindow.Event) time.Duration {
	if e.Time < t.Header.Started {
		return -t.ticks(t.Header.Started - e.Time)
	}
	return t.ticks(e.Time - t.Header.Started)
}

// Filter chooses events. The zero value chooses all.
type Filter struct {
	Task  uint32        // only this task's, 0: all
	Since time.Duration // only what happened that shortly before the last event, 0: all
	Last  int           // only so many last ones, 0: all
}

// Select is a trace with the events that f chooses, and those that name tasks.
func (t *Trace) Select(f Filter) *Trace {
	out := *t
	out.Events = nil
	var from time.Duration
	if n := len(t.Events); n > 0 && f.Since > 0 {
		from = t.At(&t.Events[n-1]) - f.Since
	}
	for _, e := range t.Events {
		if (f.Task == 0 || e.Task == f.Task) && (f.Since == 0 || t.At(&e) >= from) {
			out.Events = append(out.Events, e)
		}
	}
	if f.Last > 0 && len(out.Events) > f.Last {
		out.Events = out.Events[len(out.Events)-f.Last:]
	}
	return &out
}

// After is what t has beyond an earlier copy of the same trace.
func (t *Trace) After(earlier *Trace) *Trace {
	var seen tracewindow.Position
	for i := range earlier.Events {
		e := &earlier.Events[i]
		seen[e.Ring] = max(seen[e.Ring], e.Slot+1)
	}
	out := *t
	out.Events = slices.DeleteFunc(slices.Clone(t.Events), func(e tracewindow.Event) bool { return e.Slot < seen[e.Ring] })
	return &out
}

// names follows which name each task has.
type names map[uint32]string

func (n names) of(task uint32) string {
	if task == 0 {
		return ""
	}
	return fmt.Sprintf("%d %s", task, n[task])
}

// learn takes the name from an event, if it has one.
func (n names) learn(e *tracewindow.Event) {
	if e.Kind == tracewindow.Task {
		n[e.Task] = textOf(e.Args[2:4])
	}
}

// allNames are the names of all tasks at the beginning of a selection.
func (t *Trace) allNames() names {
	n := names{}
	for i := range t.Events {
		if e := &t.Events[i]; n[e.Task] == "" {
			n.learn(e)
		}
	}
	return n
}

func textOf(words []uint64) string {
	var b []byte
	for _, w := range words {
		for i := range 8 {
			b = append(b, byte(w>>(8*i)))
		}
	}
	return debugwindow.Printable(b)
}

// Symbols name code addresses; *symbols.Table has it.
type Symbols interface {
	Lookup(gva uint64) (symbols.Symbol, bool)
}
