package guest

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"

	"ringo/debug/gdb"
	"ringo/debug/watch"
	"ringo/internal/debugwindow"
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

// debugger is the guest as gdb sees it. What the vCPUs stop at it asks of the guest's one owner of debug state, beside whom
// else that serves.
//
// A vCPU that hits something makes the guest stand still and leaves word, on its own thread (stand). settle, one goroutine a
// resumption, waits for that, then for all vCPUs to stand still, and makes one Stop of it. Fields without a lock belong to
// the goroutine that serves gdb, and to settle between Continue and the Stop.
type debugger struct {
	l     *Live
	m     *machine.Machine
	owner *watch.Owner
	stops chan gdb.Stop
	notes chan string   // text for the user that belongs to no stop
	over  chan struct{} // closed when the connection is served no more

	release   func()        // the pause while gdb looks
	interrupt chan struct{} // of the last Continue
	settling  sync.WaitGroup
	points    map[gdb.Point]int // the owner's IDs
	watches   map[int]*userWatch
	states    []*vcpuState // what gdb has seen of the vCPUs; nil: nothing
	later     []gdb.Stop   // watchpoints that were hit together with what was reported
	stepping  int          // the vCPU that steps, -1
	alone     bool
	unstep    func() error
	absorb    int // see report

	mu      sync.Mutex // of what the vCPU threads use
	holds   []func()
	pending []gdb.Stop
	wake    chan struct{} // pending is not empty
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
	return &debugger{
		l: l, m: l.g.m, owner: l.g.watches.owner, stops: make(chan gdb.Stop, 1), notes: make(chan string, maxNotes), over: make(chan struct{}), wake: make(chan struct{}, 1),
		states: make([]*vcpuState, l.g.o.CPUs), points: map[gdb.Point]int{}, watches: map[int]*userWatch{}, stepping: -1, absorb: -1,
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
	for _, u := range d.watches {
		_ = d.l.g.watches.remove(u)
	}
	_ = d.Flush()
	d.dropHolds()
	if d.release != nil {
		d.release()
	}
}

// stand makes the guest stand still for a stop. On any thread.
func (d *debugger) stand(s gdb.Stop) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.holds = append(d.holds, d.m.Hold())
	d.pending = append(d.pending, s)
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// dropHolds releases what stand holds and takes what it left word of.
func (d *debugger) dropHolds() []gdb.Stop {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, release := range d.holds {
		release()
	}
	out := d.pending
	d.holds, d.pending = nil, nil
	select {
	case <-d.wake:
	default:
	}
	return out
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

// Notes implements gdb.Target.
func (d *debugger) Notes() <-chan string { return d.notes }

// maxNotes bounds the texts that wait for gdb.
const maxNotes = 256

// note is text for the user of gdb. Any thread; it does not wait.
func (d *debugger) note(text string) {
	select {
	case d.notes <- text:
	default: // gdb does not read
	}
}

// Continue implements gdb.Target.
func (d *debugger) Continue(step int, alone bool) error {
	if err := d.Flush(); err != nil {
		return err
	}
	absorbed := step >= 0 && step == d.absorb
	d.absorb = -1
	if absorbed {
		d.stops <- gdb.Stop{CPU: step, Step: true}
		return nil
	}
	d.interrupt = make(chan struct{}, 1)
	d.stepping, d.alone = step, alone && step >= 0
	if d.alone {
		d.forget()
		d.settling.Go(d.stepAlone)
		return nil
	}
	for len(d.later) > 0 {
		s := d.later[0]
		d.later = d.later[1:]
		if _, wanted := d.points[*s.Point]; wanted {
			d.tell(s)
			return nil
		}
	}
	if step >= 0 {
		cancel, err := d.owner.StepNext(step, func() { d.stand(gdb.Stop{CPU: step, Step: true}) })
		if err != nil {
			return err
		}
		d.unstep = cancel
	}
	d.forget()
	interrupt := d.interrupt
	d.settling.Go(func() { d.settle(interrupt) })
	d.release()
	d.release = nil
	return nil
}

func (d *debugger) interrupted() bool { return len(d.interrupt) > 0 }

// stepAlone is a step while the other vCPUs stand still.
func (d *debugger) stepAlone() {
	err := d.owner.Step(d.stepping, d.interrupted)
	stops := d.dropHolds()
	switch {
	case errors.Is(err, machine.ErrStopped) || d.m.Stopped():
		d.stops <- gdb.Stop{Exited: true}
		return
	case err != nil && !errors.Is(err, watch.ErrInterrupted):
		d.note(fmt.Sprintf("The vCPU could not be stepped: %v\n", err))
	}
	d.choose(append(stops, gdb.Stop{CPU: d.stepping, Step: true}))
}

// StepOver executes the instruction under a breakpoint that is not to count.
func (d *debugger) StepOver(cpu int) error {
	if err := d.Flush(); err != nil {
		return err
	}
	d.forget()
	err := d.owner.Step(cpu, d.interrupted)
	for _, s := range d.dropHolds() {
		if s.Point != nil {
			d.later = append(d.later, s)
		}
	}
	if errors.Is(err, watch.ErrInterrupted) {
		return nil
	}
	return err
}

// settle waits for a stop of any vCPU, or an interruption, and then for all vCPUs to stand still.
func (d *debugger) settle(interrupt <-chan struct{}) {
	select {
	case <-d.wake:
	case <-interrupt:
	case <-d.l.over:
		d.stops <- gdb.Stop{Exited: true}
		return
	}
	release, err := d.l.hold()
	if err != nil {
		d.dropHolds()
		d.stops <- gdb.Stop{Exited: true}
		return
	}
	d.release = release
	stops := d.dropHolds()
	if d.unstep != nil {
		if err := d.unstep(); err != nil {
			d.note(fmt.Sprintf("The vCPU's step could not be undone: %v\n", err))
		}
		d.unstep = nil
	}
	if len(stops) == 0 {
		stops = []gdb.Stop{{CPU: d.busy()}}
	}
	d.choose(stops)
}

// choose reports the first of several stops and keeps the accesses that were made; everything else is met again.
func (d *debugger) choose(stops []gdb.Stop) {
	for _, s := range stops[1:] {
		if s.Point != nil && s.Point.Kind >= gdb.WriteWatch {
			d.later = append(d.later, s)
		}
	}
	d.tell(stops[0])
}

// tell gives a stop to gdb. A watchpoint is told when the access has been made, whatever serves it. gdb takes an arm64 vCPU
// to stand before the access still, steps it once over, and compares then: that step must not carry out another
// instruction.
func (d *debugger) tell(s gdb.Stop) {
	if s.CPU < 0 { // a device
		s.CPU = d.busy()
	}
	if s.Point != nil && s.Point.Kind >= gdb.WriteWatch && !watchesBehind {
		d.absorb = s.CPU
	}
	d.stops <- s
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
