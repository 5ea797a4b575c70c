// Package pagetrace tells of every access to ranges of guest-physical memory, through whatever virtual address, by closing
// the pages in the mapping that KVM uses.
//
// A store to a closed page ends KVM_RUN with EFAULT at the store, with nothing carried out. An ordinary store, push or atomic
// operation the engine carries out itself (arch/*/emulate), in the monitor's view of memory: the page stays closed, and the other
// vCPUs run on. Otherwise it, in an exclusive section of the machine (all other vCPUs stand still, as KVM has one second-level table for all):
// finds out what the instruction is going to access (arch/*/store, the guest's page tables), remembers the pages, opens
// them, lets the vCPU carry out this one instruction with interrupts kept away, compares, closes the pages again and tells
// the sinks of the ranges concerned. Old and new bytes are exact, stores that change nothing are told too, and accesses to
// the same pages outside the ranges are only counted.
//
// What the monitor's devices write never faults: the accessor (machine.Memory's observer) tells Device.
//
// docs/debugging-engines.md has the protocol with its special cases.
package pagetrace

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"ringo/debug/hit"
	"ringo/internal/kvm"
	"ringo/internal/pagetable"
	"ringo/internal/store"
)

// Machine is what the engine does to the machine: *machine.Machine, whose documentation has the details.
type Machine interface {
	Registers(id int) (*Registers, error)
	SetGuestDebug(id int, d *GuestDebug) error
	MaskInterrupts(id int, r *Registers) error
	UnmaskInterrupts(id int, r *Registers) error
	Delivering(id int) (Event, bool, error)
	Exclusive(id int, f func() error) error
	Enter(id int, x *kvm.Exit) error
	Serve(id int, x *kvm.Exit) error
	Kick(id int)
	Stopped() bool
	Elapsed() time.Duration
	Settled(id int) (bool, error)
	AtInstruction(id int, fetch func(r *Registers) []byte) (*Registers, error)
	Carried(id int, before, after *Registers) error
	VectorRegister(id, n int) ([16]byte, error)
}

// Memory is guest RAM: *machine.Memory.
type Memory interface {
	Peek(gpa uint64, p []byte) int
	Poke(gpa uint64, p []byte) error
	Update(gpa uint64, n int, f func(old uint64) uint64) (was, is uint64, err error)
	Store(gpa uint64, p []byte) error
	ReadVirtual(r *Registers, gva uint64, n int) []byte
	Walk(r *Registers, gva uint64) pagetable.Walk
}

// Page is how the guest may access a page.
type Page int

// Pages, from open to closed.
const (
	Open       Page = iota // everything
	ClosedToWr             // reads only
	Closed                 // nothing
)

// Config is what an Engine needs.
type Config struct {
	Machine Machine
	Memory  Memory
	// Protect sets how the guest may access whole pages of RAM.
	Protect func(gpa, size uint64, p Page) error
	// Environment is for the decoder.
	Environment store.Environment
	// Breakpoints is how many hardware breakpoints work on this host; with fewer than two the engine
	// single-steps repeated string instructions and cannot cut exceptions during a step short. Asked for at each step.
	Breakpoints func() int
	// CanBlock: GuestDebug.BlockInterrupts works.
	CanBlock bool
	// Debug is what vCPU id reports when the engine is not at work, restored after each step. Nil: nothing.
	Debug func(id int) *GuestDebug
	// Around is told of each instruction that is about to be carried out, which debug registers do not see, and what it
	// returns is called afterwards. It may be nil.
	Around func(id int, r *Registers, in *store.Instruction) (after func())
	// Next numbers records, over all engines of a guest.
	Next func() uint64
	// Act does what a sink answered, other than hit.Continue.
	Act func(w *hit.Write, a hit.Action)
	// StepTime is how long a step may take before it is given up; 0 means a default.
	StepTime time.Duration
	// StepOnly: the vCPU carries out every instruction itself, none is emulated.
	StepOnly bool
}

const (
	pageSize = 4096
	pageMask = pageSize - 1
	// defaultStepTime is for a host that hardly lets the vCPU run at all.
	defaultStepTime = 20 * time.Second
	// maxPages bounds the pages that one instruction is looked at for: a repeated string instruction may go
	// over all memory.
	maxPages = 1 << 18
)

// Range is a run of guest-physical bytes.
type Range struct{ GPA, Size uint64 }

func (r Range) end() uint64 { return r.GPA + r.Size }

// cut is the part of r within gpa and n bytes on.
func (r Range) cut(gpa, n uint64) (Range, bool) {
	from, to := max(r.GPA, gpa), min(r.end(), gpa+n)
	return Range{from, to - from}, from < to
}

// Watch is ranges with who wants to know. Close ends it.
type Watch struct {
	e      *Engine
	ranges []Range
	reads  bool
	id     int
	sink   hit.Sink
	closed atomic.Bool

	concurrent bool
}

// page is a page with watched bytes.
type page struct {
	watches []*Watch
	state   Page // what the guest's mapping is
	opened  bool // for a step under way
}

// Engine traces one guest. Safe for concurrent use.
type Engine struct {
	c Config

	mu    sync.Mutex
	pages map[uint64]*page
	ever  bool
	stuck map[int]stuck
	done  []write // by devices, the last ones

	emulation sync.Mutex // taken before mu, not by steps: they are alone
	texts     texts

	watched                                         atomic.Int64 // pages, for who must not take mu for nothing
	hits, elsewhere, suppressed, lost, steps, exits atomic.Uint64
	emulations                                      atomic.Uint64
}

// stuck counts faults of a vCPU at one place that no page explains.
type stuck struct {
	pc uint64
	n  int
}

// write is one by a device.
type write struct{ Range }

// New makes an engine that watches nothing.
func New(c Config) *Engine {
	if c.StepTime == 0 {
		c.StepTime = defaultStepTime
	}
	if c.Next == nil {
		c.Next = new(sequence).next
	}
	if c.Debug == nil {
		c.Debug = func(int) *GuestDebug { return &GuestDebug{} }
	}
	if c.Breakpoints == nil {
		c.Breakpoints = func() int { return 0 }
	}
	if c.Around == nil {
		c.Around = func(int, *Registers, *store.Instruction) func() { return nil }
	}
	if c.Act == nil {
		c.Act = func(*hit.Write, hit.Action) {}
	}
	return &Engine{c: c, pages: make(map[uint64]*page), stuck: make(map[int]stuck)}
}

type sequence struct{ n atomic.Uint64 }

func (s *sequence) next() uint64 { return s.n.Add(1) }

// Name is the engine for people.
func (e *Engine) Name() string { return hit.PageEngine.String() }

// Counters are the engine's so far.
func (e *Engine) Counters() hit.Counters {
	return hit.Counters{
		Hits: e.hits.Load(), Elsewhere: e.elsewhere.Load(), Suppressed: e.suppressed.Load(), Lost: e.lost.Load(), Steps: e.steps.Load(), Exits: e.exits.Load(),
		Emulated: e.emulations.Load(),
	}
}

// Options of a watch.
type Options struct {
	Reads bool // reads too, not only writes: the guest then leaves at each read of the pages
	ID    int  // for hit.Write.Watch
	// Concurrent: the sink may be called while other vCPUs run, one call at a time. Without it they stand still.
	Concurrent bool
}

// Watch tells sink of each write to the ranges, from its return on, by whomever. It may be called on any thread that is not in
// Sink.Hit with locks of its own.
func (e *Engine) Watch(ranges []Range, o Options, sink hit.Sink) (*Watch, error) {
	w := &Watch{e: e, ranges: slices.Clone(ranges), reads: o.Reads, id: o.ID, sink: sink, concurrent: o.Concurrent}
	for _, r := range ranges {
		if r.Size == 0 || r.end() < r.GPA || r.Size > maxPages*pageSize {
			return nil, fmt.Errorf("watch of %#x bytes at GPA %#x: empty, too large or wraps around", r.Size, r.GPA)
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	var pages []uint64
	for _, r := range ranges {
		for at := r.GPA &^ pageMask; at < r.end(); at += pageSize {
			p := e.pages[at]
			if p == nil {
				p = new(page)
				e.pages[at] = p
			}
			if len(p.watches) == 0 || p.watches[len(p.watches)-1] != w {
				p.watches = append(p.watches, w)
				pages = append(pages, at)
			}
		}
	}
	e.ever = true
	if err := e.apply(pages); err != nil {
		return nil, errors.Join(err, e.forget(w))
	}
	return w, nil
}

// Close ends the watch. An access that is being stepped over at that moment may still be told.
func (w *Watch) Close() error {
	if w.closed.Swap(true) {
		return nil
	}
	w.e.mu.Lock()
	defer w.e.mu.Unlock()
	return w.e.forget(w)
}

func (e *Engine) forget(w *Watch) error {
	var pages []uint64
	for _, r := range w.ranges {
		for at := r.GPA &^ pageMask; at < r.end(); at += pageSize {
			if p := e.pages[at]; p != nil {
				p.watches = slices.DeleteFunc(p.watches, func(x *Watch) bool { return x == w })
				pages = append(pages, at)
			}
		}
	}
	return e.apply(pages)
}

// wants is what the page is to be.
func (p *page) wants() Page {
	switch {
	case len(p.watches) == 0 || p.opened:
		return Open
	case slices.ContainsFunc(p.watches, func(w *Watch) bool { return w.reads }):
		return Closed
	}
	return ClosedToWr
}

// apply brings pages into the state they are to have, neighbours with one call. With mu held.
func (e *Engine) apply(pages []uint64) error {
	slices.Sort(pages)
	pages = slices.Compact(pages)
	var errs []error
	for i := 0; i < len(pages); {
		p := e.pages[pages[i]]
		want, n := p.wants(), 1
		for i+n < len(pages) && pages[i+n] == pages[i]+uint64(n)*pageSize && e.pages[pages[i+n]].wants() == want && e.pages[pages[i+n]].state == p.state {
			n++
		}
		var err error
		if p.state != want {
			err = e.c.Protect(pages[i], uint64(n)*pageSize, want)
		}
		for j := range n {
			q := e.pages[pages[i+j]]
			if err == nil {
				q.state = want
			}
			if len(q.watches) == 0 && !q.opened && q.state == Open {
				delete(e.pages, pages[i+j])
			}
		}
		errs = append(errs, err)
		i += n
	}
	e.watched.Store(int64(len(e.pages)))
	return errors.Join(errs...)
}

// matching are the watched parts of n bytes at gpa, which lie in one page.
func (e *Engine) matching(gpa, n uint64, write bool) (out []match) {
	e.mu.Lock()
	defer e.mu.Unlock()
	p := e.pages[gpa&^pageMask]
	if p == nil {
		return nil
	}
	for _, w := range p.watches {
		if !write && !w.reads {
			continue
		}
		for _, r := range w.ranges {
			if part, ok := r.cut(gpa, n); ok {
				out = append(out, match{w, part})
			}
		}
	}
	return out
}

type match struct {
	w    *Watch
	part Range
}

// emit gives a record to the sink of its watch and has its answer done.
func (e *Engine) emit(w *Watch, h *hit.Write) {
	h.Watch = w.id
	h.Seq = e.c.Next()
	h.Settle()
	e.hits.Add(1)
	if a := w.sink.Hit(h); a != hit.Continue {
		e.c.Act(h, a)
	}
	h.Guest = nil
}
