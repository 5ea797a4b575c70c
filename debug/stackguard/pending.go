package stackguard

import (
	"time"

	"ringo/debug/classify"
	"ringo/debug/hit"
	"ringo/debug/report"
)

// One instruction can be many records: a repeated string store is one for each page, a loop of stores (run) one for each turn. They
// are one finding. So an event waits until something else happens, or for pendingTime, and takes in what the same instruction
// does to the same sleeper meanwhile.
type pending struct {
	event *report.Event
	sleep *sleep
	zone  classify.Zone
	timer *time.Timer
}

const (
	// pendingTime is for a sleeper that nothing else happens to; a step takes a fraction of a second where the host is
	// emulated and busy.
	pendingTime = 5 * time.Second
	// maxMerged bounds the bytes of a merged event.
	maxMerged = 64 << 10
)

// addLocked merges the event into the one that waits, or answers that and lets this one wait. loop: a loop of stores goes on with it.
func (g *Guard) addLocked(e *report.Event, s *sleep, zone classify.Zone, loop bool) (out []*report.Event) {
	p := g.pending
	same := p != nil && p.sleep == s && p.event.Rule == e.Rule
	loop = loop && same && p.event.At+report.Address(len(p.event.Old)) == e.At && e.GVA <= p.event.GVA
	if same && (loop || p.event.VCPU == e.VCPU && (p.event.PC == e.PC && e.PC != 0 || p.event.Key() == e.Key())) {
		p.merge(e, zone, loop)
		p.timer.Reset(pendingTime)
		return nil
	}
	out = g.takeLocked()
	p = &pending{event: e, sleep: s, zone: zone}
	p.timer = time.AfterFunc(pendingTime, func() { g.flushIf(p) })
	g.pending = p
	return out
}

// stillLocked says that the instruction whose event waits is still at it.
func (g *Guard) stillLocked(s *sleep, w *hit.Write) {
	if p := g.pending; p != nil && p.sleep == s && uint64(p.event.PC) == w.PC && p.event.VCPU == w.VCPU {
		p.timer.Reset(pendingTime)
	}
}

func (p *pending) merge(e *report.Event, zone classify.Zone, loop bool) {
	first, last := p.event, e
	if e.PC != first.PC && !loop { // it goes on elsewhere: what is worse is what is shown
		if zone > p.zone {
			t := first.T
			*first = *last
			first.T, p.zone = t, zone
		}
		return
	}
	first.Stores = max(first.Stores, 1)
	stores, length := first.Stores, first.Len
	if loop {
		stores, length = e.Stores, e.Len
	} else if e.GVA != first.GVA {
		stores++
		length += e.Len
	}
	gva := min(first.GVA, e.GVA)
	switch next := first.At + report.Address(len(first.Old)); {
	case last.At == next && len(first.Old)+len(last.Old) <= maxMerged:
		for _, n := range last.Notes {
			n.Offset += len(first.Old)
			first.Notes = append(first.Notes, n)
		}
		first.Old = append(first.Old[:len(first.Old):len(first.Old)], last.Old...)
		first.New = append(first.New[:len(first.New):len(first.New)], last.New...)
		if zone > p.zone {
			p.zone, first.Victim.Zone = zone, last.Victim.Zone
		}
	case zone > p.zone: // what is worse is what is shown
		t := first.T
		*first = *last
		first.T, p.zone = t, zone
	}
	first.Stores, first.Len, first.GVA = stores, length, gva
}

// takeLocked takes the event that waits.
func (g *Guard) takeLocked() []*report.Event {
	p := g.pending
	if p == nil {
		return nil
	}
	g.pending = nil
	p.timer.Stop()
	if p.event.Stores == 1 {
		p.event.Stores = 0
	}
	return []*report.Event{p.event}
}

func (g *Guard) flushIf(p *pending) {
	g.mu.Lock()
	var out []*report.Event
	if g.pending == p {
		out = g.takeLocked()
	}
	g.mu.Unlock()
	g.tell(out)
}

// flushOf reports what waits about the sleeper of a slot, before the sleeper goes on.
func (g *Guard) flushOf(slot int) {
	g.mu.Lock()
	var out []*report.Event
	if p := g.pending; p != nil && p.sleep.entry.Slot == slot {
		out = g.takeLocked()
	}
	g.mu.Unlock()
	g.tell(out)
}

// Flush reports what still waits for more.
func (g *Guard) Flush() {
	g.mu.Lock()
	out := g.takeLocked()
	g.mu.Unlock()
	g.tell(out)
}

func (g *Guard) tell(events []*report.Event) {
	for _, e := range events {
		g.c.Report(e)
	}
}
