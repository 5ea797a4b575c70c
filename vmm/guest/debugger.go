package guest

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"

	"ringo/debug/gdb"
	"ringo/internal/debugwindow"
	"ringo/internal/kvm"
	"ringo/internal/tdesc"
	"ringo/vmm/control"
	"ringo/vmm/machine"
)

// WaitForDebugger keeps the vCPUs from running until a debugger lets them, for who calls it before they do.
func (l *Live) WaitForDebugger() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = l.g.m.Hold()
}

func (l *Live) releaseWaiting() {
	if l.waiting != nil {
		l.waiting()
		l.waiting = nil
	}
}

// Debug serves gdb on the connection. There can be one at a time.
func (l *Live) Debug(conn net.Conn) error {
	d := newDebugger(l)
	l.mu.Lock()
	busy := l.debugger != nil || l.ended
	if !busy {
		l.debugger = d
	}
	l.mu.Unlock()
	if busy {
		return fmt.Errorf("%w: a debugger is attached", control.ErrState)
	}
	defer func() {
		l.mu.Lock()
		l.debugger = nil
		l.mu.Unlock()
		close(d.over)
	}()
	return gdb.Serve(conn, d)
}

// debugger is the guest as gdb sees it. It owns what the vCPUs stop at while it is attached.
//
// A vCPU that stops calls exit on its own thread, which holds the machine and leaves word in hits. settle, one
// goroutine a resumption, waits for that, then for all vCPUs to stand still, and makes one Stop of it. Fields without
// a lock belong to the goroutine that serves gdb, and to settle between Continue and the Stop.
type debugger struct {
	l     *Live
	m     *machine.Machine
	stops chan gdb.Stop
	hits  chan debugHit
	over  chan struct{} // closed when the connection is served no more

	release   func()        // the pause while gdb looks
	interrupt chan struct{} // of the last Continue
	settling  sync.WaitGroup
	points    map[gdb.Point]*inserted
	armed     machine.GuestDebug // without a step
	states    []*vcpuState       // what gdb has seen of the vCPUs; nil: nothing
	later     []debugHit         // watchpoints that were hit together with what was reported
	stepping  int                // the vCPU that steps, -1
	alone     bool
	masked    *machine.Registers // of the stepping vCPU before interrupts were masked

	mu       sync.Mutex // of what the vCPU threads use
	holds    []func()
	software map[uint64]int // breakpoints by GVA
	inForce  []machine.GuestDebug
}

// debugHit is a debug exit.
type debugHit struct {
	cpu  int
	stop debugStop
}

// inserted is a breakpoint or watchpoint in force.
type inserted struct {
	saved    []byte // what a software breakpoint covers
	hardware bool   // a breakpoint in a debug register
}

// vcpuState is the registers of a vCPU that stands still.
type vcpuState struct {
	registerState
	dirty, vectorDirty bool
}

// Set changes a register until Flush.
func (s *vcpuState) Set(n int, p []byte) bool {
	if !s.registerState.Set(n, p) {
		return false
	}
	s.dirty, s.vectorDirty = true, true
	return true
}

func newDebugger(l *Live) *debugger {
	n := l.g.o.CPUs
	return &debugger{
		l: l, m: l.g.m, stops: make(chan gdb.Stop, 1), over: make(chan struct{}), hits: make(chan debugHit, 4*n), states: make([]*vcpuState, n),
		points: map[gdb.Point]*inserted{}, software: map[uint64]int{}, stepping: -1, inForce: make([]machine.GuestDebug, n),
	}
}

// Description implements gdb.Target.
func (d *debugger) Description() *tdesc.Description { return registerTable }

// PC is a register number, as SP and FP.
func (d *debugger) PC() int { return regPC }

// SP is a register number.
func (d *debugger) SP() int { return regSP }

// FP is a register number.
func (d *debugger) FP() int { return regFP }

// Kernel is the kernel's file.
func (d *debugger) Kernel() string { return d.l.g.o.Kernel }

// Text is where the kernel's first segment lies.
func (d *debugger) Text() uint64 { return d.l.g.entry.Image.Virt }

// Attach makes the guest stand still.
func (d *debugger) Attach() error {
	select {
	case <-d.m.Started():
	case <-d.l.over:
		return control.ErrState
	}
	release, err := d.l.hold()
	if err != nil {
		return err
	}
	d.release = release
	d.l.exits.debugger.Store(d)
	d.l.mu.Lock()
	defer d.l.mu.Unlock()
	d.l.releaseWaiting()
	return nil
}

// Detach takes everything back and lets the guest run.
func (d *debugger) Detach() {
	d.Interrupt()
	d.settling.Wait()
	// What fails here fails because the guest is gone.
	for p := range d.points {
		_ = d.Remove(p)
	}
	_ = d.Flush()
	for id := range d.states {
		_ = d.report(id, machine.GuestDebug{})
	}
	d.l.exits.debugger.Store(nil)
	d.dropHolds()
	if d.release != nil {
		d.release()
	}
}

// exits takes the debug exits of a guest: for the debugger that is attached, if there is one, and else for whoever
// traces the guest.
type exits struct {
	m        *machine.Machine
	next     machine.Tracer // nil: nobody
	debugger atomic.Pointer[debugger]
}

// Debug implements machine.Tracer.
func (e *exits) Debug(id int, x *kvm.Exit) (handled bool, err error) {
	switch d := e.debugger.Load(); {
	case d != nil:
		return d.exit(id, x)
	case e.next != nil:
		return e.next.Debug(id, x)
	}
	return false, nil
}

// Fault implements machine.Tracer.
func (e *exits) Fault(id int) (handled bool, err error) {
	if e.next == nil {
		return false, nil
	}
	return e.next.Fault(id)
}

// Emulated implements machine.Tracer.
func (e *exits) Emulated(id int, x *kvm.Exit) error {
	if e.next == nil {
		return e.m.Memory().Poke(x.Addr, x.Data)
	}
	return e.next.Emulated(id, x)
}

// exit is a debug exit, on the vCPU's thread.
func (d *debugger) exit(id int, x *kvm.Exit) (handled bool, err error) {
	d.mu.Lock()
	g := d.inForce[id]
	s := decodeDebug(x, &g)
	if s.Own() || s.Software && d.software[s.PC] == 0 {
		d.mu.Unlock() // others may be here, and have to stand still
		return true, d.m.Exclusive(id, func() error { return d.m.InjectDebug(id, x, &g) })
	}
	defer d.mu.Unlock()
	d.holds = append(d.holds, d.m.Hold())
	select {
	case d.hits <- debugHit{id, s}:
	default: // breakpoints are hit again; of everything else there is one a vCPU
	}
	return true, nil
}

// report changes what a vCPU that stands still reports.
func (d *debugger) report(id int, g machine.GuestDebug) error {
	if err := d.m.SetGuestDebug(id, &g); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.inForce[id] = g
	return nil
}

func (d *debugger) dropHolds() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, release := range d.holds {
		release()
	}
	d.holds = nil
}

// Stops implements gdb.Target.
func (d *debugger) Stops() <-chan gdb.Stop { return d.stops }

// Interrupt asks for a stop.
func (d *debugger) Interrupt() {
	if d.interrupt == nil {
		return
	}
	select {
	case d.interrupt <- struct{}{}:
	default:
	}
	if d.alone {
		d.m.Kick(d.stepping)
	}
}

// Continue implements gdb.Target.
func (d *debugger) Continue(step int, alone bool) error {
	if err := d.Flush(); err != nil {
		return err
	}
	d.interrupt = make(chan struct{}, 1)
	d.stepping, d.alone = step, alone && step >= 0
	interrupt := d.interrupt
	switch {
	case d.alone:
		d.forget()
		d.settling.Go(d.stepAlone)
		return nil
	case len(d.later) > 0:
		h := d.later[0]
		d.later = d.later[1:]
		d.stops <- d.describe(h)
		return nil
	}
	if err := d.arm(step); err != nil {
		return err
	}
	d.forget()
	d.release()
	d.release = nil
	d.settling.Go(func() { d.settle(interrupt) })
	return nil
}

// stepAlone is a step while the other vCPUs stand still.
func (d *debugger) stepAlone() {
	stop := gdb.Stop{CPU: d.stepping, Step: true}
	if err := d.m.StepAlone(d.stepping, &d.inForce[d.stepping], func() bool { return len(d.interrupt) > 0 }); errors.Is(err, machine.ErrStopped) {
		stop = gdb.Stop{Exited: true}
	} else if err != nil {
		stop.Text = fmt.Sprintf("The vCPU could not be stepped: %v\n", err)
	}
	d.stops <- stop
}

// StepOver executes the instruction under a breakpoint that is not to count.
func (d *debugger) StepOver(cpu int) error {
	if err := d.Flush(); err != nil {
		return err
	}
	s, err := d.state(cpu)
	if err != nil {
		return err
	}
	pc := s.registerState.Registers.PC()
	var lifted []gdb.Point
	for p := range d.points {
		if d.points[p].saved != nil && p.Addr == pc {
			lifted = append(lifted, p)
		}
	}
	for _, p := range lifted {
		if err := d.Remove(p); err != nil {
			return err
		}
	}
	err = d.m.StepAlone(cpu, &d.inForce[cpu], func() bool { return false }) // without debug registers, too
	d.forget()
	for _, p := range lifted {
		err = errors.Join(err, d.Insert(p))
	}
	return err
}

// arm puts all points and the step in force.
func (d *debugger) arm(step int) error {
	d.masked = nil
	for id := range d.states {
		g := d.armed
		if id == step {
			g.Step, g.BlockInterrupts = true, d.m.CanBlockInterrupts()
			if err := d.mask(id); err != nil {
				return err
			}
		}
		if err := d.report(id, g); err != nil {
			return err
		}
	}
	return nil
}

// mask keeps interrupts away from a step where BlockInterrupts does not.
func (d *debugger) mask(id int) error {
	r, err := d.m.Registers(id)
	if err != nil {
		return err
	}
	d.masked = r
	return d.m.MaskInterrupts(id, r)
}

func (d *debugger) unmask() {
	if d.masked != nil {
		_ = d.m.UnmaskInterrupts(d.stepping, d.masked) // what could be masked can be unmasked
		d.masked = nil
	}
}

// settle waits for a stop of any vCPU, or an interruption, and then for all vCPUs to stand still.
func (d *debugger) settle(interrupt <-chan struct{}) {
	var first *debugHit
	select {
	case h := <-d.hits:
		first = &h
	case <-interrupt:
	case <-d.l.over:
		d.stops <- gdb.Stop{Exited: true}
		return
	}
	release, err := d.l.hold()
	if err != nil {
		d.stops <- gdb.Stop{Exited: true}
		return
	}
	d.release = release
	d.dropHolds()
	d.unmask()
	for more := true; more; {
		select {
		case h := <-d.hits:
			if first == nil {
				first = &h
			} else if len(h.stop.Watchpoints) > 0 && watchesBehind {
				d.later = append(d.later, h) // everything else happens again
			}
		default:
			more = false
		}
	}
	if first == nil {
		d.stops <- gdb.Stop{CPU: d.busy()}
		return
	}
	d.stops <- d.describe(*first)
}

// describe says in gdb's terms what was hit.
func (d *debugger) describe(h debugHit) gdb.Stop {
	stop := gdb.Stop{CPU: h.cpu, Step: h.stop.Step}
	find := func(is func(p gdb.Point) bool) {
		for p := range d.points {
			if stop.Point == nil && is(p) {
				stop.Point = &p
			}
		}
	}
	s := h.stop
	switch {
	case len(s.Watchpoints) > 0:
		w := d.armed.Watchpoints[s.Watchpoints[0]]
		stop.DataAddr = w.GVA
		find(func(p gdb.Point) bool { return p.Kind >= gdb.WriteWatch && w.GVA >= p.Addr && w.GVA-p.Addr < p.Len })
	case s.Software:
		find(func(p gdb.Point) bool { return p.Kind == gdb.SoftwareBreak && p.Addr == s.PC })
	case len(s.Breakpoints) > 0:
		at := d.armed.Breakpoints[s.Breakpoints[0]]
		find(func(p gdb.Point) bool { return p.Kind <= gdb.HardwareBreak && p.Addr == at })
	}
	return stop
}

// busy is a vCPU that is not idle, 0 if all are.
func (d *debugger) busy() int {
	table, _ := d.l.Symbols()
	for id := range d.states {
		r, err := d.m.Registers(id)
		if err != nil {
			continue
		}
		s, _ := table.Lookup(r.PC())
		if r.User() || !strings.HasSuffix(s.Function, ".idle") && !strings.HasSuffix(s.Function, ".waitForInterrupt") {
			return id
		}
	}
	return 0
}

// state is a vCPU's registers, read when first asked for after a stop.
func (d *debugger) state(cpu int) (*vcpuState, error) {
	if cpu < 0 || cpu >= len(d.states) {
		return nil, fmt.Errorf("no vCPU %d", cpu)
	}
	if d.states[cpu] == nil {
		r, err := d.m.Registers(cpu)
		if err != nil {
			return nil, err
		}
		v, err := d.m.Vector(cpu)
		if err != nil {
			return nil, err
		}
		d.states[cpu] = &vcpuState{registerState: registerState{Registers: r, Vector: v}}
	}
	return d.states[cpu], nil
}

// forget drops what was read of vCPUs that run on. Flush comes first.
func (d *debugger) forget() { clear(d.states) }

// Flush writes changed registers.
func (d *debugger) Flush() error {
	for id, s := range d.states {
		if s == nil || !s.dirty {
			continue
		}
		if err := errors.Join(d.m.SetRegisters(id, s.registerState.Registers), d.m.SetVector(id, s.Vector)); err != nil {
			return err
		}
		s.dirty = false
	}
	return nil
}

// Registers implements gdb.Target.
func (d *debugger) Registers(id gdb.ThreadID) (gdb.Registers, error) {
	if id < gdb.TaskThread {
		return d.state(id - 1)
	}
	w, err := d.l.window()
	if err != nil {
		return nil, err
	}
	s, err := d.state(0)
	if err != nil {
		return nil, err
	}
	for _, e := range w.Tasks() {
		if int(e.TID) == id-gdb.TaskThread && e.State == debugwindow.TaskParked {
			if at, ok := d.l.sleeper(w, &e, s.registerState.Registers); ok {
				return at, nil
			}
		}
	}
	return nil, fmt.Errorf("no sleeping task %d", id-gdb.TaskThread)
}

// Threads are the vCPUs, and the tasks that sleep.
func (d *debugger) Threads() []gdb.Thread {
	var out []gdb.Thread
	w, _ := d.l.window() // nil: a kernel without a registry
	for id := range d.states {
		t := gdb.Thread{ID: id + 1, Core: id, Name: fmt.Sprintf("vCPU %d", id)}
		if w != nil {
			if e, ok := d.l.current(w, id); ok {
				t.Name += ": " + taskName(&e)
				if c := d.l.call(&e); c != "" {
					t.Name += " in " + c
				}
			}
		}
		out = append(out, t)
	}
	if w == nil {
		return out
	}
	s, err := d.state(0)
	if err != nil {
		return out
	}
	for _, e := range w.Tasks() {
		if e.State != debugwindow.TaskParked || len(out) > maxThreads {
			continue
		}
		if _, ok := d.l.sleeper(w, &e, s.registerState.Registers); !ok {
			continue
		}
		t := gdb.Thread{ID: gdb.TaskThread + int(e.TID), Core: -1, Name: taskName(&e) + ", asleep"}
		if c := d.l.call(&e); c != "" {
			t.Name += " in " + c
		}
		out = append(out, t)
	}
	return out
}

// maxThreads bounds the list that gdb is sent.
const maxThreads = 1000
