package task

import (
	"time"

	"golang.org/x/sys/unix"
)

// SetRealTimer is setitimer(ITIMER_REAL): SIGALRM after value (0: never), then every interval. It answers what was set before.
func (g *Group) SetRealTimer(value, interval time.Duration) (left, oldInterval time.Duration) {
	g.k.mu.Lock()
	defer g.k.mu.Unlock()
	left, oldInterval = g.realTimerLocked()
	if g.realTimer != nil {
		g.realTimer.Stop()
		g.realTimer = nil
	}
	g.realInterval = interval
	g.realDeadline = time.Time{}
	if value > 0 {
		g.realDeadline = time.Now().Add(value)
		g.armRealTimerLocked(value)
	}
	return left, oldInterval
}

func (g *Group) armRealTimerLocked(d time.Duration) {
	var timer *time.Timer
	timer = time.AfterFunc(d, func() {
		g.k.mu.Lock()
		defer g.k.mu.Unlock()
		if g.realTimer != timer || g.zombie {
			return
		}
		g.k.sendLocked(g, nil, kernelInfo(int(unix.SIGALRM)))
		if g.realInterval == 0 {
			g.realTimer, g.realDeadline = nil, time.Time{}
			return
		}
		g.realDeadline = g.realDeadline.Add(g.realInterval)
		if now := time.Now(); g.realDeadline.Before(now) {
			g.realDeadline = now
		}
		g.armRealTimerLocked(time.Until(g.realDeadline))
	})
	g.realTimer = timer
}

func (g *Group) realTimerLocked() (left, interval time.Duration) {
	if !g.realDeadline.IsZero() {
		left = max(time.Until(g.realDeadline), time.Microsecond)
	}
	return left, g.realInterval
}

// RealTimer is getitimer(ITIMER_REAL).
func (g *Group) RealTimer() (left, interval time.Duration) {
	g.k.mu.Lock()
	defer g.k.mu.Unlock()
	return g.realTimerLocked()
}

// CPUTimeNow is CPUTime up to this moment, for the task itself.
func (t *Task) CPUTimeNow() time.Duration {
	t.account()
	return t.CPUTime()
}

// cpuTimer is setitimer(ITIMER_VIRTUAL) or ITIMER_PROF: it counts the CPU time of the process. Time in the kernel is not told from
// time in user mode, so both count the same. Guarded by Kernel.mu.
type cpuTimer struct {
	at       time.Duration // of the process's CPU time; 0: off
	interval time.Duration
}

var cpuTimerSignals = [...]unix.Signal{unix.SIGVTALRM, unix.SIGPROF}

// SetCPUTimer sets timer 0 (ITIMER_VIRTUAL) or 1 (ITIMER_PROF) and answers what was set before. Its precision is the timer tick.
func (g *Group) SetCPUTimer(which int, value, interval time.Duration) (left, oldInterval time.Duration) {
	g.k.mu.Lock()
	defer g.k.mu.Unlock()
	left, oldInterval = g.cpuTimerLocked(which)
	t := cpuTimer{interval: interval}
	if value > 0 {
		t.at = g.cpuTimeLocked() + value
	}
	g.cpuTimers[which] = t
	on := false
	for _, t := range g.cpuTimers {
		on = on || t.at != 0
	}
	g.cpuTimed.Store(on)
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
	if t.at != 0 {
		left = max(t.at-g.cpuTimeLocked(), time.Microsecond)
	}
	return left, t.interval
}

// checkCPUTimers sends the signals of the timers that have run out: at a tick, and when a task wakes.
func (g *Group) checkCPUTimers() {
	if !g.cpuTimed.Load() {
		return
	}
	g.k.mu.Lock()
	defer g.k.mu.Unlock()
	now := g.cpuTimeLocked()
	on := false
	for i := range g.cpuTimers {
		t := &g.cpuTimers[i]
		if t.at != 0 && now >= t.at {
			g.k.sendLocked(g, nil, kernelInfo(int(cpuTimerSignals[i])))
			if t.interval > 0 {
				t.at = now + t.interval
			} else {
				t.at = 0
			}
		}
		on = on || t.at != 0
	}
	g.cpuTimed.Store(on)
}
