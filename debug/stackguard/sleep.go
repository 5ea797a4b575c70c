package stackguard

import (
	"time"

	"ringo/debug/classify"
	"ringo/debug/hit"
	"ringo/internal/debugwindow"
)

// Bounds of what a guest can make the guard do.
const (
	maxStackPages = 64   // of one stack: a bigger one is watched from its top
	maxSleepers   = 2048 // stacks protected at a time
	// flood is how many writes beside a sleeping stack, on its pages, end the watch of that sleep: each costs a
	// thousand times what it costs unwatched.
	flood = 256
)

const pageSize = 4096

// sleep is a task asleep with its stacks watched.
type sleep struct {
	entry   debugwindow.Entry
	at      int64
	spans   []*span
	watch   Watch
	beside  int // hits on its pages, outside what is guarded
	hits    int // hits in what is guarded, allowed ones included
	reports int
	over    bool // it has ended
}

// span is one watched stack of a sleeper.
type span struct {
	s     *sleep
	kind  debugwindow.StackKind
	stack classify.Stack
	from  uint64   // GVA, page aligned: the first page that is watched
	pages []uint64 // GPAs of the pages from there on
	owner []string // of each page's frame, at the time
	// events are the ends of the last exception frames that were pushed there, by vCPU.
	events map[int]uint64
}

// Doorbell serves one ring. On the thread of the vCPU that rang, which goes on when it returns.
func (g *Guard) Doorbell(code, slot uint32) {
	defer g.spend(time.Now())
	g.flushOf(int(slot))
	switch code {
	case debugwindow.BellPark:
		g.park(int(slot))
		g.born(int(slot))
	case debugwindow.BellWake:
		g.mu.Lock()
		var watch Watch
		if s := g.sleepers[int(slot)]; s != nil {
			watch = g.wakeLocked(s)
		}
		g.mu.Unlock()
		closeAll([]Watch{watch})
	case debugwindow.BellMismatch:
		g.mu.Lock()
		event := g.mismatchLocked(int(slot))
		g.mu.Unlock()
		if event != nil {
			g.c.Report(event)
		}
	}
}

// park arms the stacks of a task that has parked.
func (g *Guard) park(slot int) {
	g.mu.Lock()
	var before Watch
	if s := g.sleepers[slot]; s != nil { // the wake was lost, or the guest lies
		before = g.wakeLocked(s)
	}
	s, ranges := g.parkLocked(slot)
	g.mu.Unlock()
	closeAll([]Watch{before})
	g.arm(s, ranges)
}

// arm has the engine watch a sleep that has been entered; nil is none.
func (g *Guard) arm(s *sleep, ranges []Range) {
	if s == nil {
		return
	}
	watch, err := g.c.Engine.Watch(ranges, hit.Func(g.Hit))
	g.mu.Lock()
	over := s.over // somebody has turned the guard off meanwhile
	if err != nil {
		g.forgetLocked(s)
		g.count.missed++
		g.count.unavailable = err.Error()
	}
	s.watch = watch
	g.mu.Unlock()
	if over && err == nil {
		closeAll([]Watch{watch})
	}
}

// parkLocked enters a sleep, whose ranges are then to be armed: entered before, as another vCPU may hit them at once.
func (g *Guard) parkLocked(slot int) (*sleep, []Range) {
	if g.mode != Attribute {
		return nil, nil
	}
	g.count.sleeps++
	if len(g.sleepers) >= maxSleepers || !g.openLocked() {
		g.count.missed++
		return nil, nil
	}
	e, err := g.window.Task(slot)
	if err != nil || e.Torn || e.State != debugwindow.TaskParked {
		g.count.missed++
		return nil, nil
	}
	return g.armLocked(e, g.c.Now())
}

// armLocked enters the sleep of an entry, since a time.
func (g *Guard) armLocked(e debugwindow.Entry, at int64) (*sleep, []Range) {
	s := &sleep{entry: e, at: at}
	for _, st := range e.Valid() {
		if sp := g.spanLocked(s, st); sp != nil {
			s.spans = append(s.spans, sp)
		}
	}
	var ranges []Range
	for _, sp := range s.spans {
		for _, gpa := range sp.pages {
			if n := len(ranges); n > 0 && ranges[n-1].GPA+ranges[n-1].Size == gpa {
				ranges[n-1].Size += pageSize
			} else {
				ranges = append(ranges, Range{gpa, pageSize})
			}
			g.pages[gpa] = append(g.pages[gpa], sp)
		}
	}
	if len(ranges) == 0 {
		g.count.missed++
		return nil, nil
	}
	g.sleepers[e.Slot] = s
	return s, ranges
}

// spanLocked is what is watched of a stack: pages that the owner itself does not touch while it parks.
// A goroutine runs on below Keep for a while after the bell, so its watch starts at the next page; the kernel
// leaves a gap for that. A fixed stack has been left altogether and is watched whole.
func (g *Guard) spanLocked(s *sleep, st debugwindow.Stack) *span {
	sp := &span{s: s, kind: st.Kind, stack: classify.Stack{Span: classify.Span{Lo: st.Lo, Hi: st.Hi}, SP: st.SP}}
	switch {
	case st.Kind == debugwindow.StackFixed && st.SP != 0:
		sp.from = st.Lo &^ (pageSize - 1)
		sp.stack.Frame = savedFrame
	case st.Kind == debugwindow.StackGoroutine && st.Keep != 0:
		sp.stack.SP = st.Keep
		sp.from = (st.Keep + pageSize - 1) &^ (pageSize - 1)
	default:
		return nil // it runs there
	}
	end := (st.Hi + pageSize - 1) &^ (pageSize - 1)
	if end-sp.from > maxStackPages*pageSize && end > sp.from {
		sp.from = end - maxStackPages*pageSize
	}
	for gva := sp.from; gva < st.Hi; gva += pageSize {
		gpa, ok := g.c.Translate(g.window.Header.KernelRoot, gva)
		if !ok {
			return nil
		}
		gpa &^= pageSize - 1
		sp.pages = append(sp.pages, gpa)
		f, _ := g.window.Frame(gpa)
		sp.owner = append(sp.owner, f.Owner)
	}
	if len(sp.pages) == 0 {
		return nil
	}
	return sp
}

// savedFrame is what a switch saves at SP at least: the words whose loss is the story.
const savedFrame = 64

// wakeLocked ends a sleep and answers the watch that the caller has to close without mu.
func (g *Guard) wakeLocked(s *sleep) Watch {
	g.forgetLocked(s)
	g.last[s.entry.Slot] = past{
		tid: int(s.entry.TID), sleep: s.entry.Parks, from: s.at, to: g.c.Now(), hits: s.hits, reports: s.reports, watched: s.watch != nil && s.beside <= flood,
		wrong: g.last[s.entry.Slot].wrong,
	}
	return s.watch
}

func (g *Guard) forgetLocked(s *sleep) {
	s.over = true
	if g.sleepers[s.entry.Slot] == s {
		delete(g.sleepers, s.entry.Slot)
	}
	for _, sp := range s.spans {
		for _, gpa := range sp.pages {
			list := g.pages[gpa]
			for i, o := range list {
				if o == sp {
					list = append(list[:i:i], list[i+1:]...)
					break
				}
			}
			if len(list) == 0 {
				delete(g.pages, gpa)
			} else {
				g.pages[gpa] = list
			}
		}
	}
}

// address is the stack's own address of a GPA in one of its pages.
func (sp *span) address(gpa uint64) (gva uint64, page int) {
	for i, p := range sp.pages {
		if gpa&^(pageSize-1) == p {
			return sp.from + uint64(i)*pageSize + gpa&(pageSize-1), i
		}
	}
	return 0, -1
}
