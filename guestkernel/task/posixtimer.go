package task

import (
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"
)

// posixTimer is a timer of timer_create(2) on a clock that goes by itself. Guarded by Kernel.mu.
type posixTimer struct {
	id       int
	clock    int
	info     *Info // nil: SIGEV_NONE
	target   *Task // SIGEV_THREAD_ID; nil: the process
	timer    *time.Timer
	cpu      *cpuWatch // for a clock of CPU time, else nil
	deadline time.Time // zero: disarmed
	interval time.Duration

	queued   bool // its signal is pending: further expirations are overruns
	overruns int  // since the signal was queued
	last     int  // of the signal delivered last, for timer_getoverrun
}

// maxTimers bounds the timers of a process (RLIMIT_SIGPENDING on Linux).
const maxTimers = 1024

// TimerEvent is what a struct sigevent asks for.
type TimerEvent struct {
	Signal int
	None   bool // SIGEV_NONE
	Thread int  // tid for SIGEV_THREAD_ID, 0: the process
	Value  uint64
	// ValueIsID: there was no sigevent, the value is the timer's id.
	ValueIsID bool
}

// NewTimer is timer_create(2); cpu is the clock's, nil for a clock that goes by itself. Errors: EINVAL, EAGAIN.
func (t *Task) NewTimer(clock int, cpu *CPUClock, e TimerEvent) (id int, err error) {
	k, g := t.k, t.group
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(g.timers) >= maxTimers {
		return 0, unix.EAGAIN
	}
	p := &posixTimer{id: g.nextTimer, clock: clock}
	if !e.None {
		if e.Signal < 1 || e.Signal > NumSignals {
			return 0, unix.EINVAL
		}
		if e.Thread != 0 {
			if p.target = k.tasks[g.pidns.global(e.Thread)]; p.target == nil || p.target.group != g {
				return 0, unix.EINVAL
			}
		}
		if e.ValueIsID {
			e.Value = uint64(p.id)
		}
		p.info = newInfo(e.Signal, CodeTimer)
		p.info.put32(16, uint32(p.id))
		p.info.put64(24, e.Value)
	}
	if cpu != nil {
		p.cpu = &cpuWatch{clock: *cpu}
		p.cpu.fire = func(now time.Duration) {
			times := 1
			next := time.Duration(0)
			if p.interval > 0 {
				next, times = after(p.cpu.at, p.interval, now)
			}
			cpu.group.watchLocked(p.cpu, next)
			p.fireLocked(g, times)
		}
	}
	if g.timers == nil {
		g.timers = make(map[int]*posixTimer)
	}
	g.timers[p.id] = p
	g.nextTimer++
	return p.id, nil
}

// SetTimer is timer_settime(2): the timer fires at the deadline (zero: never), then every interval. It answers what was set before.
// The error is EINVAL.
func (g *Group) SetTimer(id int, deadline time.Time, interval time.Duration) (left, oldInterval time.Duration, err error) {
	g.k.mu.Lock()
	defer g.k.mu.Unlock()
	p := g.timers[id]
	if p == nil {
		return 0, 0, unix.EINVAL
	}
	left, oldInterval = p.leftLocked()
	p.stopLocked()
	p.interval = interval
	if !deadline.IsZero() {
		p.deadline = deadline
		g.armTimerLocked(p)
	}
	return left, oldInterval, nil
}

// SetCPUTimerAt is SetTimer for a timer on a clock of CPU time, at a time of that clock (zero: never).
func (g *Group) SetCPUTimerAt(id int, at, interval time.Duration) (left, oldInterval time.Duration, err error) {
	g.k.mu.Lock()
	defer g.k.mu.Unlock()
	p := g.timers[id]
	if p == nil || p.cpu == nil {
		return 0, 0, unix.EINVAL
	}
	left, oldInterval = p.leftLocked()
	p.interval = interval
	target := p.cpu.clock.group
	target.watchLocked(p.cpu, at)
	if at != 0 && p.cpu.clock.nowLocked() >= at {
		p.cpu.fire(p.cpu.clock.nowLocked())
	}
	return left, oldInterval, nil
}

// Timer is timer_gettime(2), and answers the timer's clock. The error is EINVAL.
func (g *Group) Timer(id int) (left, interval time.Duration, clock int, cpu *CPUClock, err error) {
	g.k.mu.Lock()
	defer g.k.mu.Unlock()
	p := g.timers[id]
	if p == nil {
		return 0, 0, 0, nil, unix.EINVAL
	}
	left, interval = p.leftLocked()
	if p.cpu != nil {
		cpu = &p.cpu.clock
	}
	return left, interval, p.clock, cpu, nil
}

// TimerOverruns is timer_getoverrun(2). The error is EINVAL.
func (g *Group) TimerOverruns(id int) (int, error) {
	g.k.mu.Lock()
	defer g.k.mu.Unlock()
	p := g.timers[id]
	if p == nil {
		return 0, unix.EINVAL
	}
	return p.last, nil
}

// DeleteTimer is timer_delete(2). The error is EINVAL.
func (g *Group) DeleteTimer(id int) error {
	g.k.mu.Lock()
	defer g.k.mu.Unlock()
	p := g.timers[id]
	if p == nil {
		return unix.EINVAL
	}
	p.stopLocked()
	delete(g.timers, id)
	return nil
}

// deleteTimersLocked ends all timers: at execve and at the end of the process.
func (g *Group) deleteTimersLocked() {
	for _, p := range g.timers {
		p.stopLocked()
	}
	g.timers, g.nextTimer = nil, 0
}

func (p *posixTimer) stopLocked() {
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
	p.deadline = time.Time{}
	if p.cpu != nil {
		p.cpu.clock.group.watchLocked(p.cpu, 0)
	}
}

// leftLocked is the time to the next expiration: of an interval timer that nobody listens to as well, though its
// deadline is not moved for each.
func (p *posixTimer) leftLocked() (left, interval time.Duration) {
	if p.cpu != nil && p.cpu.at != 0 {
		return max(p.cpu.at-p.cpu.clock.nowLocked(), 1), p.interval
	}
	if p.deadline.IsZero() {
		return 0, p.interval
	}
	left = time.Until(p.deadline)
	if left <= 0 {
		left = 1 // about to fire
	}
	return left, p.interval
}

func (g *Group) armTimerLocked(p *posixTimer) {
	var timer *time.Timer
	timer = time.AfterFunc(time.Until(p.deadline), func() {
		k := g.k
		k.mu.Lock()
		defer k.mu.Unlock()
		if p.timer != timer || g.zombie {
			return
		}
		fired := 1
		if p.interval > 0 {
			fired = p.passedLocked() // expirations that were missed are overruns
			g.armTimerLocked(p)
		} else {
			p.stopLocked()
		}
		if fired > 0 {
			p.fireLocked(g, fired)
		}
	})
	p.timer = timer
}

// passedLocked moves the deadline of an interval timer behind now and answers how many expirations that passes.
func (p *posixTimer) passedLocked() int {
	late := time.Since(p.deadline)
	if late < 0 {
		return 0
	}
	n := 1 + int(late/p.interval)
	p.deadline = p.deadline.Add(time.Duration(n) * p.interval)
	return n
}

// fireLocked queues the timer's signal, or counts overruns while it is pending.
func (p *posixTimer) fireLocked(g *Group, times int) {
	if p.info == nil {
		return
	}
	if p.queued {
		p.overruns += times
		return
	}
	target := p.target
	if target != nil && target.dead {
		return
	}
	p.overruns = times - 1
	info := *p.info
	if g.k.sendTimerLocked(g, target, &info, p) {
		p.queued = true
	}
}

// deliveredLocked fills the overrun count in when the signal leaves its queue.
func (p *posixTimer) deliveredLocked(info *Info) {
	// Expirations whose callback has not had its turn yet count, too (hrtimer_forward in posixtimer_rearm). The callback finds the deadline moved.
	if p.timer != nil && p.interval > 0 {
		p.overruns += p.passedLocked()
	}
	p.queued = false
	p.last, p.overruns = p.overruns, 0
	binary.LittleEndian.PutUint32(info[20:], uint32(p.last))
}
