package task

import (
	"sync/atomic"
	"time"
)

// CPUTimes is processor time, divided as getrusage(2) does it.
type CPUTimes struct{ User, System time.Duration }

// Total is both.
func (c CPUTimes) Total() time.Duration { return c.User + c.System }

func (c CPUTimes) plus(o CPUTimes) CPUTimes { return CPUTimes{c.User + o.User, c.System + o.System} }

// cpuClock is a thread's processor time: one word, so that others can read it while it runs. While the thread runs, it is the time since the kernel's
// start at which the thread would have had to begin, had it never stopped. Else it is the complement of the time used.
//
// A task that waits for a CPU in the Go scheduler at a tick is not running; between ticks its share is not told apart.
type cpuClock struct{ word atomic.Int64 }

func (k *Kernel) nanos() int64 { return int64(time.Since(k.started)) }

func (c *cpuClock) init() { c.word.Store(^int64(0)) }

// start and stop are called by the task's own goroutine, in turns.
func (c *cpuClock) start(now int64) { c.word.Store(now - ^c.word.Load()) }
func (c *cpuClock) stop(now int64)  { c.word.Store(^(now - c.word.Load())) }

func (c *cpuClock) read(now int64) time.Duration {
	w := c.word.Load()
	if w < 0 {
		return time.Duration(^w)
	}
	return time.Duration(max(now-w, 0))
}

// system is a thread's estimated time in the kernel. Reading the clock twice for each call would be dear, so calls that were fast when they were
// timed last are timed once in sampleEvery times, and count as many.
type systemTime struct {
	ns    atomic.Int64
	calls int // left until the next one that is timed whatever its number; owned by the task
	began int64
	scale int64 // of the call being timed, 0: it is not
}

const (
	sampleEvery = 16
	fastCall    = 5 * time.Microsecond
	numCosts    = 512 // system calls by number; the last place is for page faults
)

// costs remembers which calls are fast.
type costs [numCosts]atomic.Bool

// enterKernel begins to time call nr, perhaps.
func (t *Task) enterKernel(nr uint64) {
	if t.system.calls--; t.system.calls <= 0 || !t.k.fast[nr%numCosts].Load() {
		t.beginTiming(nr)
	}
}

func (t *Task) beginTiming(nr uint64) {
	s := &t.system
	if s.calls <= 0 {
		s.calls = sampleEvery
	}
	s.scale = 1
	if t.k.fast[nr%numCosts].Load() {
		s.scale = sampleEvery
	}
	s.began = t.k.nanos()
}

// leaveKernel ends what enterKernel began.
func (t *Task) leaveKernel(nr uint64) {
	if t.system.scale != 0 {
		t.endTiming(nr)
	}
}

func (t *Task) endTiming(nr uint64) {
	s := &t.system
	spent := t.k.nanos() - s.began
	s.ns.Add(spent * s.scale)
	s.scale = 0
	f := &t.k.fast[nr%numCosts]
	if fast := spent < int64(fastCall); f.Load() != fast {
		f.Store(fast)
	}
}

// offCPU and onCPU are around every wait of the task's goroutine.
func (t *Task) offCPU() {
	t.ctx.SaveVector()
	now := t.k.nanos()
	t.cpu.stop(now)
	if t.counted {
		t.counted = false
		t.k.realtime.Add(-1)
	}
	if s := &t.system; s.scale != 0 {
		s.ns.Add((now - s.began) * s.scale)
	}
}

func (t *Task) onCPU() {
	now := t.k.nanos()
	t.cpu.start(now)
	if t.rtprio.Load() != 0 {
		t.counted = true
		t.k.realtime.Add(1)
	}
	t.system.began = now
}

// CPUTime is the processor time of the thread so far. Any goroutine.
func (t *Task) CPUTime() time.Duration { return t.cpu.read(t.k.nanos()) }

// split divides a sum of processor time as cputime_adjust does: by the estimate of the time in the kernel, and so that neither part ever goes backwards.
type split struct{ last CPUTimes }

func (s *split) of(total, system time.Duration) CPUTimes {
	if total <= s.last.Total() {
		return s.last
	}
	c := CPUTimes{System: max(min(system, total), s.last.System)}
	if c.User = total - c.System; c.User < s.last.User {
		c.User = s.last.User
		c.System = total - c.User
	}
	s.last = c
	return c
}

// CPUTimes is CPUTime, divided.
func (t *Task) CPUTimes() CPUTimes {
	total, system := t.CPUTime(), time.Duration(t.system.ns.Load())
	t.k.mu.Lock()
	defer t.k.mu.Unlock()
	return t.shown.of(total, system)
}

// CPUTime is what the process has used, and what its waited-for children have.
func (g *Group) CPUTime() (own, children CPUTimes) {
	g.k.mu.Lock()
	defer g.k.mu.Unlock()
	return g.cpuTimesLocked(), g.childTime
}

func (g *Group) cpuTimesLocked() CPUTimes {
	total, system := g.exited, g.exitedSystem
	now := g.k.nanos()
	for _, t := range g.tasks {
		total += t.cpu.read(now)
		system += time.Duration(t.system.ns.Load())
	}
	return g.shown.of(total, system)
}

// exitedLocked keeps the time of a thread that ends.
func (g *Group) exitedLocked(t *Task) {
	g.exited += t.CPUTime()
	g.exitedSystem += time.Duration(t.system.ns.Load())
	g.exitedSwitches[0] += t.switches.Load()
	g.exitedSwitches[1] += t.preempted.Load()
}

// Switches is how often the process's threads have waited, and how often they were made to.
func (g *Group) Switches() (voluntary, involuntary uint64) {
	g.k.mu.Lock()
	defer g.k.mu.Unlock()
	voluntary, involuntary = g.exitedSwitches[0], g.exitedSwitches[1]
	for _, t := range g.tasks {
		voluntary += t.switches.Load()
		involuntary += t.preempted.Load()
	}
	return voluntary, involuntary
}

// Switches is the same of a thread.
func (t *Task) Switches() (voluntary, involuntary uint64) {
	return t.switches.Load(), t.preempted.Load()
}
