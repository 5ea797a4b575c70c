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
