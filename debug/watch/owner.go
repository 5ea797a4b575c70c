// Package watch owns all debug state of a guest: watchpoints of any length and number, hardware and software
// breakpoints, steps. Whoever wants the guest to stop or to be told of an access, the command line, the control socket,
// the GDB stub, asks the one Owner, which decides on the mechanism (debug registers, or page tracing) and brings every vCPU
// up to date at each change.
package watch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"ringo/debug/hit"
	"ringo/debug/pagetrace"
	"ringo/internal/kvm"
	"ringo/internal/pagetable"
	"ringo/internal/store"
)

// Machine is what the Owner does to the machine: *machine.Machine, whose documentation has the details.
type Machine interface {
	pagetrace.Machine
	CPUs() int
	InjectDebug(id int, x *kvm.Exit, d *GuestDebug) error
	OnCPU(id int, f func() error) error
	Pause(ctx context.Context) (release func(), err error)
	End()
	Complete(id int) bool
	DebugSlots() DebugSlots
}

// Config is what an Owner needs.
type Config struct {
	Machine Machine
	Memory  pagetrace.Memory
	// Protect sets how the guest may access whole pages of RAM.
	Protect func(gpa, size uint64, p pagetrace.Page) error
	// Environment is for the decoder of accesses.
	Environment store.Environment
	// Probe tries what works on this host: pages is why page tracing does not, registers why debug registers do not fire.
	// It is called once, by Prepare.
	Probe func() (pages, registers error)
	// CanBlock: interrupts can be kept away during a step (amd64: KVM_GUESTDBG_BLOCKIRQ).
	CanBlock bool
	// FunctionStart is where the function at pc begins. It may be nil.
	FunctionStart func(pc uint64) (start uint64, ok bool)
	// Walk translates a GVA for who does not say by which page tables; nil: those in force on vCPU 0. The guest stands still.
	Walk func(gva uint64) pagetable.Walk
	// Ended is told before the guest is ended because a sink answered hit.End. It may be nil.
	Ended func(w *hit.Write)
	// StepOnly: see pagetrace.Config.
	StepOnly bool
}

// Owner is the debug state of one guest. It implements machine.Tracer. Its methods may be called from any goroutine, those that
// change something not on a vCPU's thread: they pause the guest.
type Owner struct {
	c      Config
	engine *pagetrace.Engine
	seq    atomic.Uint64

	prepare sync.Once
	slots   atomic.Pointer[DebugSlots] // that work; nil before Prepare
	pages   error                      // why page tracing does not work

	change sync.Mutex // one change at a time; taken before mu

	mu      sync.Mutex
	nextID  int
	watches map[int]*Watch
	breaks  map[int]*Breakpoint
	soft    map[uint64]*patch // by GPA
	steps   map[int]*step     // vCPUs that are to carry out one instruction when the guest goes on
	debug   GuestDebug        // in force on every vCPU, but for steps
	pieces  []*Watch          // whose debug.Watchpoints are, by index
	points  []*Breakpoint     // whose debug.Breakpoints are
	forced  []*Watch          // what the instruction about to be carried out is known to access, for around
	told    map[int]uint64    // vCPUs that go on from a breakpoint that has been told, and where
	broken  error             // the first failure where nobody could be told

	hits, exits, lost atomic.Uint64
}

// New makes the Owner of a machine, which has to be told to trace with it.
func New(c Config) *Owner {
	o := &Owner{c: c, watches: map[int]*Watch{}, breaks: map[int]*Breakpoint{}, soft: map[uint64]*patch{}, steps: map[int]*step{}, told: map[int]uint64{}}
	o.engine = pagetrace.New(pagetrace.Config{
		Machine: c.Machine, Memory: c.Memory, Protect: c.Protect, Environment: c.Environment, Breakpoints: func() int { return o.working().Breakpoints }, CanBlock: c.CanBlock,
		Debug: func(id int) *GuestDebug {
			o.mu.Lock()
			defer o.mu.Unlock()
			d := o.debugOf(id)
			return &d
		},
		Next: func() uint64 { return o.seq.Add(1) },
		Act:  o.act, Around: o.around, StepOnly: c.StepOnly,
	})
	return o
}

// Prepare finds out what works on this host, once; the error is why page tracing does not. Not on a vCPU's thread. What adds watches and
// breakpoints calls it; the stack guard, which does not, wants it called before.
func (o *Owner) Prepare() error {
	o.prepare.Do(func() {
		slots := o.c.Machine.DebugSlots()
		var registers error
		if o.c.Probe != nil {
			o.pages, registers = o.c.Probe()
		}
		if registers != nil {
			slots = DebugSlots{}
		}
		o.slots.Store(&slots)
	})
	return o.pages
}

// working are the debug registers that fire.
func (o *Owner) working() DebugSlots {
	if s := o.slots.Load(); s != nil {
		return *s
	}
	return DebugSlots{}
}

// Pages is the page engine, for who watches guest-physical ranges by itself (the stack guard).
func (o *Owner) Pages() *pagetrace.Engine { return o.engine }

// Counters are those of all engines.
func (o *Owner) Counters() hit.Counters {
	c := o.engine.Counters()
	c.Add(hit.Counters{Hits: o.hits.Load(), Exits: o.exits.Load(), Lost: o.lost.Load()})
	return c
}

// act does what a sink has answered.
func (o *Owner) act(w *hit.Write, a hit.Action) {
	if a != hit.End {
		return
	}
	if o.c.Ended != nil {
		o.c.Ended(w)
	}
	o.c.Machine.End()
}

// Request is what to watch. Either GVA or, with Physical, GPA.
type Request struct {
	GVA, GPA uint64
	Physical bool
	Len      uint64 // bytes
	Reads    bool   // reads too
	Sink     hit.Sink
	// Walk translates GVA; nil: the page tables in force on vCPU 0.
	Walk func(gva uint64) pagetable.Walk
}

// Watch is a watch in force.
type Watch struct {
	ID int
	Request

	engine hit.Engine // guarded by Owner.mu

	page *pagetrace.Watch // PageEngine

	// DebugRegister: the registers' worth, and the bytes as they were last seen.
	parts []watchpoint
	mu    sync.Mutex
	last  []byte
}

// Errors of the Owner's methods.
var (
	// ErrUnmapped: the GVA translates to nothing.
	ErrUnmapped = errors.New("the address is not mapped")
	// ErrUnknown: no such watch or breakpoint.
	ErrUnknown = errors.New("no such watch or breakpoint")
	// ErrSlots: hardware breakpoints are used up, or do not work here.
	ErrSlots = errors.New("no hardware breakpoint left")
	// ErrNoEngine: debug registers do not serve the watch and page tracing does not work on this host.
	ErrNoEngine = errors.New("this host cannot watch that")
	// ErrNoHardware: debug registers do not fire on this host.
	ErrNoHardware = errors.New("hardware breakpoints do not work on this host")
)

// changeTime is how long a change waits for the vCPUs.
const changeTime = 30 * time.Second

// paused runs f with all vCPUs standing still and the debug state locked against other changes.
func (o *Owner) paused(f func() error) error {
	o.change.Lock()
	defer o.change.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), changeTime)
	defer cancel()
	release, err := o.c.Machine.Pause(ctx)
	if err != nil {
		return err
	}
	defer release()
	o.mu.Lock()
	err, o.broken = o.broken, nil
	o.mu.Unlock()
	return errors.Join(err, f())
}

// Add begins a watch and chooses its mechanism: debug registers if the range has a GVA and fits what is left of them, page
// tracing otherwise. From its return on every access is told.
func (o *Owner) Add(r Request) (w *Watch, err error) {
	if r.Len == 0 || r.Sink == nil {
		return nil, fmt.Errorf("watch of %d bytes: want at least 1, and somebody to tell", r.Len)
	}
	pages := o.Prepare()
	err = o.paused(func() error {
		o.mu.Lock()
		o.nextID++
		w = &Watch{ID: o.nextID, Request: r}
		o.mu.Unlock()
		if o.registers(w) {
			return o.update()
		}
		if pages != nil {
			return fmt.Errorf("%w: %w", ErrNoEngine, pages)
		}
		return o.trace(w)
	})
	if err != nil {
		return nil, err
	}
	return w, nil
}

// registers gives w debug registers if there are enough.
func (o *Owner) registers(w *Watch) bool {
	if w.Physical || w.Len > 1<<31 {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	slots := o.working()
	free := slots.Watchpoints - len(o.debug.Watchpoints)
	if slots.Shared {
		free -= len(o.debug.Breakpoints)
	}
	parts := splitWatch(w.GVA, int(w.Len), free)
	if len(parts) == 0 {
		return false
	}
	for i := range parts {
		parts[i].Read, parts[i].Write = w.Reads, true
	}
	w.engine, w.parts = hit.DebugRegister, parts
	o.watches[w.ID] = w
	w.last = o.remember(w)
	return true
}

// walk translates an address of the watch.
func (o *Owner) walk(w *Watch, gva uint64) pagetable.Walk {
	if w.Walk != nil {
		return w.Walk(gva)
	}
	return o.translate(gva)
}

// translate is the way of a GVA that belongs to no vCPU.
func (o *Owner) translate(gva uint64) pagetable.Walk {
	if o.c.Walk != nil {
		return o.c.Walk(gva)
	}
	r, err := o.c.Machine.Registers(0)
	if err != nil {
		return pagetable.Walk{VA: gva, Result: pagetable.WalkUnreadable}
	}
	return o.c.Memory.Walk(r, gva)
}

// remember reads what is watched; shorter where that is not mapped.
func (o *Owner) remember(w *Watch) (out []byte) {
	for gva, left := w.GVA, w.Len; left > 0; {
		n := min(left, 0x1000-gva&0xfff)
		at := o.walk(w, gva)
		if at.Result != pagetable.WalkMapped {
			break
		}
		b := make([]byte, n)
		out = append(out, b[:o.c.Memory.Peek(at.PA, b)]...)
		gva, left = gva+n, left-n
	}
	return out
}

// trace gives w to the page engine.
func (o *Owner) trace(w *Watch) error {
	ranges := []pagetrace.Range{{GPA: w.GPA, Size: w.Len}}
	if !w.Physical {
		ranges = nil
		for gva, left := w.GVA, w.Len; left > 0; {
			n := min(left, 0x1000-gva&0xfff)
			walk := o.walk(w, gva)
			if walk.Result != pagetable.WalkMapped {
				return fmt.Errorf("%w: %s", ErrUnmapped, walk)
			}
			ranges = append(ranges, pagetrace.Range{GPA: walk.PA, Size: n})
			gva, left = gva+n, left-n
		}
	}
	page, err := o.engine.Watch(ranges, pagetrace.Options{Reads: w.Reads, ID: w.ID, Concurrent: true}, w.Sink)
	if err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	w.engine, w.page, w.parts = hit.PageEngine, page, nil
	o.watches[w.ID] = w
	return nil
}

// Remove ends a watch or breakpoint.
func (o *Owner) Remove(id int) error {
	return o.paused(func() error {
		o.mu.Lock()
		w, b := o.watches[id], o.breaks[id]
		delete(o.watches, id)
		delete(o.breaks, id)
		o.mu.Unlock()
		switch {
		case w != nil && w.page != nil:
			return w.page.Close()
		case w != nil:
			return o.update()
		case b != nil:
			return o.unbreak(b)
		}
		return fmt.Errorf("%w: %d", ErrUnknown, id)
	})
}

// Engine is what serves a watch. It may change while the watch is in force: a breakpoint can need its debug register.
func (o *Owner) Engine(w *Watch) hit.Engine {
	o.mu.Lock()
	defer o.mu.Unlock()
	return w.engine
}

// Watches are those in force, by ID.
func (o *Owner) Watches() (out []*Watch) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, w := range o.watches {
		out = append(out, w)
	}
	slices.SortFunc(out, func(a, b *Watch) int { return a.ID - b.ID })
	return out
}

// update computes the debug state and gives it to every vCPU. The guest stands still.
func (o *Owner) update() error {
	o.mu.Lock()
	o.debug, o.pieces, o.points = GuestDebug{Software: len(o.soft) > 0}, nil, nil
	for _, id := range sortedKeys(o.breaks) {
		if b := o.breaks[id]; b.patch == nil {
			o.debug.Breakpoints = append(o.debug.Breakpoints, b.GVA)
			o.points = append(o.points, b)
		}
	}
	for _, id := range sortedKeys(o.watches) {
		w := o.watches[id]
		for _, p := range w.parts {
			o.debug.Watchpoints = append(o.debug.Watchpoints, p)
			o.pieces = append(o.pieces, w)
		}
	}
	o.mu.Unlock()
	for id := range o.c.Machine.CPUs() {
		if err := o.report(id); err != nil {
			return err
		}
	}
	return nil
}

// debugOf is what vCPU id is to report; the caller holds mu.
func (o *Owner) debugOf(id int) GuestDebug {
	d := o.debug
	if o.steps[id] != nil {
		d.Step, d.BlockInterrupts = true, o.c.CanBlock
	}
	return d
}

// report gives a vCPU that stands still, or is on its own thread, its debug state.
func (o *Owner) report(id int) error {
	o.mu.Lock()
	d := o.debugOf(id)
	o.mu.Unlock()
	return o.c.Machine.SetGuestDebug(id, &d)
}

// failed keeps an error for the next change, which answers it.
func (o *Owner) failed(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.broken == nil {
		o.broken = err
	}
}

func sortedKeys[V any](m map[int]V) []int {
	keys := make([]int, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// Fault implements machine.Tracer.
func (o *Owner) Fault(id int) (bool, error) { return o.engine.Fault(id) }

// Emulated implements machine.Tracer.
func (o *Owner) Emulated(id int, x *kvm.Exit) error { return o.engine.Emulated(id, x) }

// Device tells of an access of the monitor to guest memory, before it happens; machine.Memory's observer.
func (o *Owner) Device(gpa uint64, size int, write bool, data []byte, source string) {
	o.engine.Device(gpa, size, write, data, source)
}
