package task

import (
	"time"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/wait"
)

// CPUClock is a clock of processor time (clock_getcpuclockid(3)): of a process, or of one thread.
type CPUClock struct {
	group  *Group
	thread *Task // nil: the process
	kind   int
}

// Kinds of CPUClock, as in the low bits of a clock id.
const (
	cpuBoth  = 0 // user and system time
	cpuUser  = 1
	cpuTotal = 2
)

// CPUClock answers the clock that an id of clock_gettime(2) means. Negative ids are ^pid<<3 with the kind, and 4 for a thread. The error is EINVAL.
func (t *Task) CPUClock(id int) (c CPUClock, err error) {
	switch {
	case id == unix.CLOCK_PROCESS_CPUTIME_ID:
		return CPUClock{t.group, nil, cpuTotal}, nil
	case id == unix.CLOCK_THREAD_CPUTIME_ID:
		return CPUClock{t.group, t, cpuTotal}, nil
	case id >= 0 || id&3 == 3:
		return c, unix.EINVAL
	}
	pid, perThread := t.Global(^(id >> 3)), id&4 != 0
	c = CPUClock{t.group, nil, id & 3}
	k := t.k
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case pid == 0 && perThread:
		c.thread = t
	case pid == 0:
	case perThread:
		if c.thread = k.tasks[pid]; c.thread == nil || c.thread.group != t.group {
			return c, unix.EINVAL
		}
	default:
		if c.group = k.groups[pid]; c.group == nil || c.group == k.init {
			return c, unix.EINVAL
		}
	}
	return c, nil
}

// Now reads the clock.
func (c CPUClock) Now() time.Duration {
	c.group.k.mu.Lock()
	defer c.group.k.mu.Unlock()
	return c.nowLocked()
}

func (c CPUClock) nowLocked() time.Duration {
	if t := c.thread; t != nil {
		total := t.cpu.read(t.k.nanos())
		if c.kind == cpuUser {
			return t.shown.of(total, time.Duration(t.system.ns.Load())).User
		}
		return total
	}
	times := c.group.cpuTimesLocked()
	if c.kind == cpuUser {
		return times.User
	}
	return times.Total()
}

// cpuWatch is somebody who waits for a CPU clock to reach a time. Clocks are looked at when a thread of the process is interrupted in user mode, and
// when it sleeps: that is as precise as the timer tick. Guarded by Kernel.mu.
type cpuWatch struct {
	clock CPUClock
	at    time.Duration // 0: off
	fire  func(now time.Duration)
}

// watchLocked sets when a watch fires; at 0 takes it out.
func (g *Group) watchLocked(w *cpuWatch, at time.Duration) {
	w.at = at
	if at == 0 {
		delete(g.watches, w)
	} else {
		if g.watches == nil {
			g.watches = make(map[*cpuWatch]struct{})
		}
		g.watches[w] = struct{}{}
	}
	g.cpuTimed.Store(len(g.watches) > 0)
}

// checkCPUTimers fires the watches whose time has come: at a tick, and before a task sleeps.
func (g *Group) checkCPUTimers() {
	if !g.cpuTimed.Load() {
		return
	}
	g.k.mu.Lock()
	defer g.k.mu.Unlock()
	for w := range g.watches {
		if now := w.clock.nowLocked(); w.at != 0 && now >= w.at {
			w.fire(now)
		}
	}
}

// after is the first of the times at, at+interval... that lies behind now, and how many do not.
func after(at, interval, now time.Duration) (next time.Duration, passed int) {
	if at > now {
		return at, 0
	}
	passed = 1 + int((now-at)/interval)
	return at + time.Duration(passed)*interval, passed
}

// cpuTimer is setitimer(ITIMER_VIRTUAL) or ITIMER_PROF. Guarded by Kernel.mu.
type cpuTimer struct {
	watch    *cpuWatch
	interval time.Duration
}

var cpuTimerSignals = [...]unix.Signal{unix.SIGVTALRM, unix.SIGPROF}

// SetCPUTimer sets timer 0 (ITIMER_VIRTUAL, of user time) or 1 (ITIMER_PROF) and answers what was set before.
func (g *Group) SetCPUTimer(which int, value, interval time.Duration) (left, oldInterval time.Duration) {
	g.k.mu.Lock()
	defer g.k.mu.Unlock()
	left, oldInterval = g.cpuTimerLocked(which)
	t := &g.cpuTimers[which]
	if t.watch == nil {
		w := &cpuWatch{clock: CPUClock{g, nil, [...]int{cpuUser, cpuBoth}[which]}}
		w.fire = func(now time.Duration) {
			g.k.sendLocked(g, nil, kernelInfo(int(cpuTimerSignals[which])))
			next := time.Duration(0)
			if t.interval > 0 {
				next, _ = after(w.at, t.interval, now)
			}
			g.watchLocked(w, next)
		}
		t.watch = w
	}
	t.interval = interval
	at := time.Duration(0)
	if value > 0 {
		at = t.watch.clock.nowLocked() + value
	}
	g.watchLocked(t.watch, at)
	return left, oldInterval
}

// CPUTimer is getitimer for the same timers.
func (g *Group) CPUTimer(which int) (left, interval time.Duration) {
	g.k.mu.Lock()
	defer g.k.mu.Unlock()
	return g.cpuTimerLocked(which)
}

func (g *Group) cpuTimerLocked(which int) (left, interval time.Duration) {
	t := g.cpuTimers[which]
	if t.watch != nil && t.watch.at != 0 {
		left = max(t.watch.at-t.watch.clock.nowLocked(), time.Microsecond)
	}
	return left, t.interval
}

// SleepOnCPUClock sleeps until the clock reaches a time: TimedOut is then the answer, as of Sleep at its deadline.
func (t *Task) SleepOnCPUClock(c CPUClock, at time.Duration) wait.Result {
	k, reached := t.k, make(chan struct{}, 1)
	w := &cpuWatch{clock: c}
	w.fire = func(time.Duration) {
		c.group.watchLocked(w, 0)
		reached <- struct{}{}
	}
	k.mu.Lock()
	if c.nowLocked() >= at {
		k.mu.Unlock()
		return wait.TimedOut
	}
	c.group.watchLocked(w, at)
	k.mu.Unlock()
	result := t.Sleep(reached, time.Time{})
	k.mu.Lock()
	c.group.watchLocked(w, 0)
	k.mu.Unlock()
	if result == wait.Woken {
		return wait.TimedOut
	}
	return result
}

// LimitCPUTime is told that RLIMIT_CPU has changed: seconds of CPU time after which SIGXCPU comes, each second, and SIGKILL.
func (g *Group) LimitCPUTime() {
	soft, _ := g.Limit(unix.RLIMIT_CPU)
	g.k.mu.Lock()
	defer g.k.mu.Unlock()
	w := g.cpuLimit
	if w == nil {
		w = &cpuWatch{clock: CPUClock{g, nil, cpuTotal}}
		w.fire = func(now time.Duration) {
			soft, hard := g.Limit(unix.RLIMIT_CPU)
			switch used := uint64(now / time.Second); {
			case used >= hard:
				g.k.killGroupLocked(g, int(unix.SIGKILL))
				g.watchLocked(w, 0)
			case used >= soft:
				g.k.sendLocked(g, nil, kernelInfo(int(unix.SIGXCPU)))
				g.watchLocked(w, time.Duration(used+1)*time.Second)
			default:
				g.watchLocked(w, cpuLimitAt(soft))
			}
		}
		g.cpuLimit = w
	}
	g.watchLocked(w, cpuLimitAt(soft))
}

// cpuLimitAt is when a limit in seconds is reached; 0: never. A limit of 0 is reached at once.
func cpuLimitAt(seconds uint64) time.Duration {
	if seconds > uint64(1<<62/time.Second) {
		return 0
	}
	return max(time.Duration(seconds)*time.Second, 1)
}
