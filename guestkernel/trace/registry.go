package trace

import (
	"bytes"
	"errors"
	"sync"
	"sync/atomic"
	"syscall"

	"ringo/internal/debugwindow"
	"ringo/internal/tracewindow"
)

// Registry is the debug window and its free slots.
type Registry struct {
	*debugwindow.Registry
	bell    func(uint32)
	counter func() uint64
	cpu     func() int
	cpus    []*debugwindow.CPU
	rings   *tracewindow.Rings

	mu   sync.Mutex
	next int   // slots [next, Tasks) have never been used
	free []int // slots of tasks that have ended, longest ago first
}

// linger is how many ended tasks keep their entries at least, for who looks after a crash.
const linger = 32

// Config is what a registry needs of the machine.
type Config struct {
	Window  []byte // the debug window, zeroed, mapped for as long as the kernel runs
	CPUs    int
	Counter func() uint64      // TSC or CNTVCT_EL0
	CPU     func() int         // number of the CPU, a hint
	Bell    func(uint32)       // rings the doorbell
	Rings   *tracewindow.Rings // the flight recorder, nil: off
	// Describe fills in what only the nucleus knows, before the window becomes visible.
	Describe func(*debugwindow.Registry)
}

// Open formats the window.
func Open(c Config) (*Registry, error) {
	w, err := debugwindow.Format(c.Window, c.CPUs)
	if err != nil {
		return nil, err
	}
	if c.Describe != nil {
		c.Describe(w)
	}
	w.Publish()
	r := &Registry{Registry: w, bell: c.Bell, counter: c.Counter, cpu: c.CPU, rings: c.Rings}
	for i := range c.CPUs {
		r.cpus = append(r.cpus, w.CPU(i))
	}
	return r, nil
}

// Slot is a task's place in the registry. All methods may be called on nil: no window, or no room in it.
type Slot struct {
	r        *Registry
	e        *debugwindow.Task
	index    int
	snapshot []byte
	taken    int    // bytes of it that are valid, 0: none was taken for this park
	rung     bool   // BellPark was
	covered  bool   // Cover was set
	entered  uint64 // counter value at Look, 0: not looked at
	told     bool   // the call's Enter event has been written
}

// Add enters a task; parent is the process that made it. r may be nil.
func (r *Registry) Add(tid, pid, parent int, comm string) *Slot {
	if r == nil {
		return nil
	}
	h := r.Header()
	r.mu.Lock()
	index := -1
	switch {
	case len(r.free) > linger || len(r.free) > 0 && r.next == int(h.Tasks):
		index, r.free = r.free[0], r.free[1:]
	case r.next < int(h.Tasks):
		index = r.next
		r.next++
		atomic.StoreUint32(&h.High, uint32(r.next))
	}
	r.mu.Unlock()
	if index < 0 {
		atomic.AddUint32(&h.Unregistered, 1)
		return nil
	}
	s := &Slot{r: r, e: r.Task(index), index: index}
	e := s.e
	e.Begin()
	seq := e.Seq
	*e = debugwindow.Task{Seq: seq, State: debugwindow.TaskRunning, TID: uint32(tid), PID: uint32(pid), Since: r.counter()}
	e.SetComm(comm)
	e.End()
	s.tell(parent, comm)
	return s
}

// Bind says that the calling goroutine runs the task, and where its user context is (0: not known).
func (s *Slot) Bind(context uint64) {
	if s == nil {
		return
	}
	e := s.e
	e.Begin()
	g := currentG()
	e.G, e.Context = uint64(g), context
	e.Stacks[0] = goroutineStack(g)
	e.End()
}

func goroutineStack(g uintptr) debugwindow.Stack {
	l := &debugwindow.Runtime
	return debugwindow.Stack{Kind: debugwindow.StackGoroutine, Lo: uint64(word(g + uintptr(l.GStackLo))), Hi: uint64(word(g + uintptr(l.GStackHi)))}
}

// SetIDs is for execve by a thread that is not the leader.
func (s *Slot) SetIDs(tid, pid int) {
	if s == nil {
		return
	}
	s.e.Begin()
	s.e.TID, s.e.PID = uint32(tid), uint32(pid)
	s.e.End()
}

// SetComm changes the name. Any goroutine: a reader may see half of the new name.
func (s *Slot) SetComm(name string) {
	if s != nil {
		s.e.SetComm(name)
		s.tell(0, name)
	}
}

// Enter says that a system call begins, Leave that it has ended.
func (s *Slot) Enter(nr uint32, args *[6]uint64) {
	if s == nil {
		return
	}
	s.e.Args, s.e.Call = *args, uint64(nr)+1
}

// Look says that the call's time is wanted: the kernel looks at the clock anyhow, as the call is not known to be quick, or as it is its turn.
func (s *Slot) Look() {
	if s != nil && s.r.rings != nil && s.r.rings.On() {
		s.entered = s.r.counter()
	}
}

// Leave ends what Enter began; ret and err are the call's.
func (s *Slot) Leave(ret uint64, err error) {
	if s == nil {
		return
	}
	if r := s.r.rings; r != nil {
		if err != nil || s.entered != 0 {
			s.leave(ret, err)
		} else if e := s.e; r.On() {
			r.Call(0, tracewindow.Head(tracewindow.Exit, int(e.CPU), uint16(e.Call-1), e.TID), ret, (*[4]uint64)(e.Args[:]), 0)
		}
	}
	s.e.Call = 0
}

// leave is Leave of a call that was timed, has slept or failed.
func (s *Slot) leave(ret uint64, err error) {
	if err != nil {
		ret = errno(err)
	}
	r, e := s.r, s.e
	var now, took uint64
	if s.entered != 0 {
		now = r.counter()
		took = max(now-s.entered, 1)
	}
	s.entered, s.told = 0, false
	if r.rings.On() {
		r.rings.Call(now, tracewindow.Head(tracewindow.Exit, r.cpu(), uint16(e.Call-1), e.TID), ret, (*[4]uint64)(e.Args[:]), uint32(min(took, tracewindow.LongCall)))
	}
}

// errno is an error as a register shows it; 0 for a call that has set the registers itself.
func errno(err error) uint64 {
	e, ok := err.(syscall.Errno)
	if !ok {
		errors.As(err, &e)
	}
	return -uint64(e)
}

// OnCPU says that the task is about to enter user mode. loaded is task.Context.Loaded: with nobody else on that CPU since, all has been said.
func (s *Slot) OnCPU(loaded uint32) {
	if s == nil {
		return
	}
	if cpu := loaded - 1; loaded == 0 || s.e.CPU != cpu || int(cpu) >= len(s.r.cpus) || s.r.cpus[cpu].Task != uint32(s.index)+1 {
		cpu := s.r.cpu()
		s.e.CPU = uint32(cpu)
		s.r.cpus[cpu].Task = uint32(s.index) + 1
	}
}

// Attributed says that the monitor protects the stacks of tasks that park from now on.
func (s *Slot) Attributed() bool {
	return s != nil && s.r.Guard()&debugwindow.GuardAttribute != 0
}

// Park says that the task is about to sleep. The caller's own caller leaves its frames alone until the caller has
// called Wake.
//
//go:noinline
func (s *Slot) Park(wait debugwindow.Wait) {
	if s == nil {
		return
	}
	e := s.e
	e.Begin()
	e.State, e.Wait, e.Since = debugwindow.TaskParked, wait, s.r.counter()
	e.Parks++
	st, fp := s.place()
	st.SP = uint64(fp)
	st.Keep = st.Hi
	if at := uint64(stackAtCall(fp)); at != 0 {
		st.Keep = min(at+spillSize, st.Hi)
	}
	e.Stacks[0] = st
	e.Where = [8]uint64{}
	for i, at := 0, uint64(fp); i < len(e.Where) && at >= st.Lo && at <= st.Hi-16 && at&7 == 0; i++ {
		e.Where[i] = uint64(word(uintptr(at) + 8))
		next := uint64(word(uintptr(at)))
		if next <= at {
			break
		}
		at = next
	}
	e.End()
	s.tellCall()
	s.emit(tracewindow.Block, uint16(e.Call), uint64(wait), e.Call-1, e.Where[0], e.Where[1])
	guard := s.r.Guard()
	if guard == 0 {
		return
	}
	if guard&debugwindow.GuardDetect != 0 {
		s.takeSnapshot(&st)
	}
	if guard&debugwindow.GuardAttribute == 0 {
		return
	}
	if !s.watched() {
		s.covered = true
		atomic.StoreUint64(&e.Cover, e.Parks<<debugwindow.CoverShift|debugwindow.CoverOpen)
		return
	}
	s.rung = true
	s.ring(debugwindow.BellPark)
}

// place is the goroutine's stack and the frame pointer of Park's caller in it. Any call may move the stack, so both are read until they belong
// together.
//
//go:noinline
func (s *Slot) place() (st debugwindow.Stack, fp uintptr) {
	for {
		st = goroutineStack(currentG())
		fp = word(word(framePointer()))
		if now := goroutineStack(currentG()); now.Lo == st.Lo && now.Hi == st.Hi && uint64(fp) >= st.Lo && uint64(fp) < st.Hi {
			return st, fp
		}
	}
}

// watched decides whether the monitor is asked at once to protect the sleep that begins. Two tasks that wake each other thousands of times would
// spend their time in bells, so it is always only for a task with a fixed stack, and otherwise as long as the monitor gives credit.
func (s *Slot) watched() bool {
	if s.e.Stacks[1].SP != 0 {
		return true
	}
	credit := &s.r.Header().Credit
	for n := atomic.LoadUint32(credit); n > 0; n = atomic.LoadUint32(credit) {
		if atomic.CompareAndSwapUint32(credit, n, n-1) {
			return true
		}
	}
	return false
}

// uncover ends what Park began, and says whether the monitor has protected the stacks.
func (s *Slot) uncover() (closed bool) {
	closed = s.rung
	if s.covered {
		closed = atomic.SwapUint64(&s.e.Cover, 0)&(1<<debugwindow.CoverShift-1) == debugwindow.CoverClosed
		if !closed {
			atomic.AddUint64(&s.r.Header().Compared, 1)
		}
	}
	s.rung, s.covered = false, false
	return closed
}

// Wake says that the task runs again; how is for the trace: 0 woken, 1 interrupted, 2 timed out. It reports false when the stack was written to meanwhile (GuardDetect).
func (s *Slot) Wake(how uint64) (intact bool) {
	if s == nil {
		return true
	}
	if s.uncover() {
		s.ring(debugwindow.BellWake) // before the comparison, which would map the pages read-only
	}
	intact = s.taken == 0 || s.unchanged()
	if !intact {
		atomic.AddUint32(&s.r.Header().Mismatches, 1)
		s.ring(debugwindow.BellMismatch)
	}
	e, now := s.e, s.r.counter()
	s.emit(tracewindow.Wake, 0, now-e.Since, how, 0, 0)
	e.Begin()
	e.State, e.Wait, e.Since = debugwindow.TaskRunning, debugwindow.WaitNone, now
	e.Stacks[0].SP, e.Stacks[0].Keep = 0, 0
	e.Snapshot, e.SnapshotSize = 0, 0
	e.End()
	s.taken = 0
	return intact
}

// takeSnapshot copies what nobody may change.
func (s *Slot) takeSnapshot(st *debugwindow.Stack) {
	keep, fixed := stackBytes(st.Keep, st.Hi), s.fixedBytes()
	if n := len(keep) + len(fixed); cap(s.snapshot) < n {
		s.snapshot = make([]byte, 0, 2*n)
		if now := goroutineStack(currentG()); now.Hi != st.Hi {
			return // that has moved the stack, of which nothing is known now
		}
	}
	s.snapshot = append(append(s.snapshot[:0], keep...), fixed...)
	s.taken = len(keep)
	s.e.Begin()
	s.e.Snapshot, s.e.SnapshotSize = addressOf(s.snapshot), uint64(len(keep))
	s.e.End()
}

// fixedBytes is what lies on the fixed stack while the task is away from it.
func (s *Slot) fixedBytes() []byte {
	st := &s.e.Stacks[1]
	if st.SP == 0 {
		return nil
	}
	return stackBytes(st.SP, st.Hi)
}

// unchanged compares. A stack that the runtime has moved meanwhile has other contents by right.
func (s *Slot) unchanged() bool {
	if !bytes.Equal(s.fixedBytes(), s.snapshot[s.taken:]) {
		return false
	}
	old := &s.e.Stacks[0]
	now := goroutineStack(currentG())
	if now.Lo != old.Lo || now.Hi != old.Hi {
		return true
	}
	return bytes.Equal(stackBytes(old.Keep, old.Hi), s.snapshot[:s.taken])
}

func (s *Slot) ring(code uint32) {
	atomic.AddUint32(&s.r.Header().Doorbells, 1)
	if s.r.bell != nil {
		s.r.bell(debugwindow.Bell(code, uint32(s.index)))
	}
}

// SetFixed says that the task has a fixed kernel stack, and what the g register is on it; all zero: none any more.
func (s *Slot) SetFixed(lo, hi, g uint64) {
	if s == nil {
		return
	}
	e := s.e
	e.Begin()
	e.AltG, e.Stacks[1] = g, debugwindow.Stack{}
	if hi != 0 {
		e.Stacks[1] = debugwindow.Stack{Kind: debugwindow.StackFixed, Lo: lo, Hi: hi}
	}
	e.End()
	if s.r.Guard() != 0 {
		s.ring(debugwindow.BellStack)
	}
}

// SetG says what the g register is while the task runs on a stack that is not in its entry; 0: no such stack.
func (s *Slot) SetG(g uint64) {
	if s != nil {
		s.e.Begin()
		s.e.AltG = g
		s.e.End()
	}
}

// SetFixedSP says with which stack pointer the task has left its fixed stack; 0: it runs there, or nothing of it is in use. Before
// Park and after Wake.
func (s *Slot) SetFixedSP(sp uint64) {
	if s == nil {
		return
	}
	e := s.e
	e.Begin()
	e.Stacks[1].SP, e.Stacks[1].Keep = sp, sp
	e.End()
}

// Close ends the entry. Its contents stay until the slot is used again. status is for the trace.
func (s *Slot) Close(status int) {
	if s == nil {
		return
	}
	e := s.e
	s.emit(tracewindow.TaskEnd, 0, uint64(status), 0, 0, 0)
	e.Begin()
	e.State, e.Since, e.Call, e.G, e.AltG, e.Context = debugwindow.TaskDead, s.r.counter(), 0, 0, 0, 0
	e.End()
	s.r.mu.Lock()
	s.r.free = append(s.r.free, s.index)
	s.r.mu.Unlock()
}
