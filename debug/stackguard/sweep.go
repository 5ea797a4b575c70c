package stackguard

import (
	"encoding/binary"
	"time"

	"ringo/debug/report"
	"ringo/internal/debugwindow"
)

// Most sleeps end soon, and closing pages costs every vCPU a stop. So the kernel does not ring for each of them: it marks
// the entry (debugwindow.CoverOpen), and the sweeper, which looks at all entries now and then, closes the stacks of those whom it finds in the
// same sleep for the second time, all in one stop. Before the sleeper goes on, the kernel rings if they were closed.
//
// What all this costs the guest is measured, and the next look waits accordingly: on a host where stops are dear, fewer
// sleeps are protected. Those that were not are compared, as in detect mode, and counted (report.Counters.Compared).
const (
	// sweepEvery is the time between two looks, at least.
	sweepEvery = 10 * time.Millisecond
	// sweepShare: after what has cost the guest a time, the next sweep waits for that many times it.
	sweepShare = 6
	// sweepLate is the time between two looks, at most.
	sweepLate = time.Second
	// creditShare: one part of so many of the guest's time is spent on sleeps that are protected from their first instruction on.
	creditShare = 10
	// maxCredit bounds what is saved up for that.
	maxCredit = 100 * time.Millisecond
)

// seen is a sleep that a look has found.
type seen struct {
	sleep uint64 // Parks
	tried bool   // its stacks could not be protected
}

// sweeper is the goroutine that looks.
type sweeper struct{ stop, done chan struct{} }

// wait ends it and returns when it has ended; on nil, at once. Without mu.
func (s *sweeper) wait() {
	if s != nil {
		close(s.stop)
		<-s.done
	}
}

// sweepLocked starts the sweeper, or answers the one that the caller is to end.
func (g *Guard) sweepLocked(on bool) (ended *sweeper) {
	switch {
	case on && g.sweeper == nil && g.c.Still != nil:
		g.sweeper = &sweeper{make(chan struct{}), make(chan struct{})}
		go g.sweepUntil(g.sweeper)
	case !on:
		ended, g.sweeper = g.sweeper, nil
	}
	return ended
}

func (g *Guard) sweepUntil(s *sweeper) {
	defer close(s.done)
	t := time.NewTimer(sweepEvery)
	defer t.Stop()
	last := time.Now()
	var credit time.Duration
	for {
		select {
		case <-s.stop:
			return
		case <-t.C:
		}
		took, bells := g.sweep()
		now := time.Now()
		credit = min(credit+now.Sub(last)/creditShare-bells, maxCredit)
		g.give(credit > 0)
		last = now
		t.Reset(min(max(sweepEvery, sweepShare*(took+bells)), sweepLate))
	}
}

// spend counts what has been spent of the guest's time since a moment.
func (g *Guard) spend(since time.Time) {
	g.mu.Lock()
	g.spent += time.Since(since)
	g.mu.Unlock()
}

// give lets the kernel ring for one more sleep, or for none.
func (g *Guard) give(one bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.window == nil || g.mode != Attribute {
		return
	}
	var word [4]byte
	if one {
		word[0] = 1
	}
	// Refused for what is no RAM; then nobody reads it either.
	_ = g.c.Memory.Poke(g.window.CreditAddress(), word[:])
}

// sweep is one look, and closes what it finds. It answers what of the guest's time that took, and the doorbells since the last one.
func (g *Guard) sweep() (took, bells time.Duration) {
	g.mu.Lock()
	found := g.longAsleepLocked()
	bells, g.spent = g.spent, 0
	g.mu.Unlock()
	if len(found) == 0 {
		return 0, bells
	}
	var events []*report.Event
	begin := time.Now()
	err := g.c.Still(func() {
		for _, slot := range found {
			if e := g.cover(slot); e != nil {
				events = append(events, e)
			}
		}
	})
	if err != nil {
		return 0, bells // the machine has stopped
	}
	g.tell(events)
	return time.Since(begin), bells
}

// longAsleepLocked are the slots whose tasks are in the sleep that the last look has found, and not protected.
func (g *Guard) longAsleepLocked() (found []int) {
	if g.mode != Attribute || !g.openLocked() {
		return nil
	}
	for slot := range g.window.High() {
		sleep, cover := g.window.Cover(slot)
		if cover != debugwindow.CoverOpen {
			delete(g.seen, slot)
			continue
		}
		was, again := g.seen[slot]
		switch {
		case !again || was.sleep != sleep:
			g.seen[slot] = seen{sleep: sleep}
		case !was.tried:
			found = append(found, slot)
		}
	}
	return found
}

// cover protects the stacks of a task that sleeps on, while no vCPU is in the guest. It answers a report if they have changed before.
func (g *Guard) cover(slot int) (event *report.Event) {
	g.mu.Lock()
	s, ranges := g.coverLocked(slot)
	if s != nil && s.entry.Snapshot != 0 && g.difference(&s.entry) != nil {
		event = g.mismatchLocked(slot)
		s.hits++ // which is not reported again when it wakes
	}
	g.mu.Unlock()
	g.arm(s, ranges)
	return event
}

func (g *Guard) coverLocked(slot int) (*sleep, []Range) {
	was := g.seen[slot]
	sleep, cover := g.window.Cover(slot)
	if g.mode != Attribute || cover != debugwindow.CoverOpen || sleep != was.sleep || g.sleepers[slot] != nil {
		return nil, nil
	}
	e, err := g.window.Task(slot)
	if err != nil || e.Torn || e.State != debugwindow.TaskParked || e.Parks != sleep || len(g.sleepers) >= maxSleepers {
		return nil, nil
	}
	g.seen[slot] = seen{sleep, true}
	at := g.c.Now()
	if since := g.window.At(e.Since); since > 0 {
		at = min(at, since)
	}
	s, ranges := g.armLocked(e, at)
	if s == nil {
		return nil, nil
	}
	var word [8]byte
	binary.LittleEndian.PutUint64(word[:], sleep<<debugwindow.CoverShift|debugwindow.CoverClosed)
	if err := g.c.Memory.Poke(g.window.CoverAddress(slot), word[:]); err != nil {
		g.forgetLocked(s)
		return nil, nil
	}
	g.count.sleeps++
	return s, ranges
}
