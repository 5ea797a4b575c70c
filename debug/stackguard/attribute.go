package stackguard

import (
	"encoding/binary"
	"fmt"

	"ringo/debug/classify"
	"ringo/debug/hit"
	"ringo/debug/report"
	"ringo/debug/symbols"
	"ringo/internal/debugwindow"
)

// Hit is one write to a watched page; it implements hit.Sink as a function.
func (g *Guard) Hit(w *hit.Write) hit.Action {
	if w.Access != hit.Written || w.Len <= 0 || len(w.Old) < w.Len || len(w.New) < w.Len {
		return hit.Continue
	}
	g.mu.Lock()
	var events []*report.Event
	var flooded []Watch
	var moved []*sleep
	g.count.hits++
	loop := g.runs.of(w)
	outside := true
	for _, sp := range append([]*span(nil), g.pages[w.GPA&^(pageSize-1)]...) {
		found, where := g.spanHitLocked(sp, w, loop)
		events = append(events, found...)
		if where != nowhere {
			outside = false
		}
		if where == inside {
			continue
		}
		if where == elsewhere {
			moved = append(moved, sp.s)
			continue
		}
		if sp.s.beside++; sp.s.beside == flood {
			g.count.missed++
			flooded = append(flooded, g.wakeLocked(sp.s))
		}
	}
	if outside {
		g.count.outside++
	}
	g.mu.Unlock()
	closeAll(flooded)
	for _, s := range moved {
		g.follow(s, w.Guest)
	}
	g.tell(events)
	return hit.Continue
}

// place is where a write went, for one sleeper.
type place int

const (
	nowhere   place = iota // its pages only
	gone                   // what was its stack: it is awake
	elsewhere              // what was its stack: it has moved
	inside                 // its stack
)

// spanHitLocked says what a write means for one sleeper: a report, or nothing. loop is what it belongs to, or nil.
func (g *Guard) spanHitLocked(sp *span, w *hit.Write, loop *run) ([]*report.Event, place) {
	at, page := sp.address(w.GPA)
	if page < 0 {
		return nil, nowhere
	}
	zone, first := sp.stack.Worst(at, uint64(w.Len))
	if zone == classify.Outside {
		return nil, nowhere
	}
	// The entry as it is now: the task may be on its way out of its sleep, or its stack have moved.
	now, err := g.window.Task(sp.s.entry.Slot)
	switch {
	case err == nil && !now.Torn && (now.State != debugwindow.TaskParked || now.Parks != sp.s.entry.Parks):
		g.count.late++
		return nil, gone
	case g.movedLocked(sp, w):
		g.count.moved++
		return nil, elsewhere
	case zone == classify.Dead:
		g.count.dead++
		g.stillLocked(sp.s, w)
		return nil, inside
	}
	sp.s.hits++
	if sp.followsLocked(w) {
		return nil, inside
	}
	e := g.evidenceLocked(sp, w, at, zone, page)
	e.First = first
	if zone.Allowable() && w.Kind.ByInstruction() && !w.Registers.User {
		if i := allowed(g.rules, e.Callers); i >= 0 {
			g.count.allowed[i]++
			return nil, inside
		}
	}
	sp.s.reports++
	g.count.reports++
	event := g.eventLocked(sp, w, e, at, first, zone)
	if event.Rule == string(classify.R5) {
		sp.eventOn(w.VCPU, at+uint64(w.Len))
	}
	loop.describe(event)
	return g.addLocked(event, sp.s, zone, loop != nil), inside
}

// eventOn remembers that a vCPU has pushed an exception frame on this stack, which ends at top: its handler is going to run there.
func (sp *span) eventOn(vcpu int, top uint64) {
	if sp.events == nil {
		sp.events = make(map[int]uint64)
	}
	sp.events[vcpu] = top
}

// followsLocked says that a write is by the handler of an event that was delivered on this stack: that was reported, and everything
// the handler does with its stack follows from it.
func (sp *span) followsLocked(w *hit.Write) bool {
	top, ok := sp.events[w.VCPU]
	if !ok || !w.Kind.ByInstruction() || w.Registers.User {
		return false
	}
	if sp.stack.Contains(w.Registers.SP) && w.Registers.SP < top {
		return true
	}
	delete(sp.events, w.VCPU)
	return false
}

// movedLocked says that a goroutine's stack is not there any more: the runtime has moved it. Without a Guest (a device wrote)
// it reads through the kernel's page tables.
func (g *Guard) movedLocked(sp *span, w *hit.Write) bool {
	if sp.kind != debugwindow.StackGoroutine || sp.s.entry.G == 0 {
		return false
	}
	l := &g.window.Header.Runtime
	lo, ok1 := g.word(w.Guest, sp.s.entry.G+uint64(l.GStackLo))
	hi, ok2 := g.word(w.Guest, sp.s.entry.G+uint64(l.GStackHi))
	return ok1 && ok2 && (lo != sp.stack.Lo || hi != sp.stack.Hi)
}

// follow watches a sleeper whose goroutine's stack the runtime has moved where it lies now.
func (g *Guard) follow(s *sleep, guest hit.Guest) {
	g.mu.Lock()
	if s.over {
		g.mu.Unlock()
		return
	}
	old := g.wakeLocked(s)
	e := s.entry
	l := &g.window.Header.Runtime
	lo, ok1 := g.word(guest, e.G+uint64(l.GStackLo))
	hi, ok2 := g.word(guest, e.G+uint64(l.GStackHi))
	st := &e.Stacks[0]
	var again *sleep
	var ranges []Range
	if used := st.Hi - st.Keep; ok1 && ok2 && lo < hi && hi-lo >= used && g.mode == Attribute {
		st.Lo, st.Hi, st.SP, st.Keep = lo, hi, hi-(st.Hi-st.SP), hi-used
		if again, ranges = g.armLocked(e, s.at); again != nil {
			again.hits, again.reports = s.hits, s.reports
		}
	}
	g.mu.Unlock()
	closeAll([]Watch{old})
	g.arm(again, ranges)
}

// read copies kernel memory at a GVA.
func (g *Guard) read(guest hit.Guest, gva uint64, n int) []byte {
	if guest != nil {
		return guest.ReadVirtual(gva, n)
	}
	out := make([]byte, 0, n)
	for len(out) < n {
		gpa, ok := g.c.Translate(g.window.Header.KernelRoot, gva)
		if !ok {
			break
		}
		part := min(n-len(out), int(pageSize-gva%pageSize))
		got := g.c.Memory.Peek(gpa, out[len(out):len(out)+part])
		out = out[:len(out)+got]
		if got < part {
			break
		}
		gva += uint64(part)
	}
	return out
}

func (g *Guard) word(guest hit.Guest, gva uint64) (uint64, bool) {
	b := g.read(guest, gva, 8)
	if len(b) < 8 {
		return 0, false
	}
	return binary.LittleEndian.Uint64(b), true
}

// evidenceLocked collects what the classifier looks at.
func (g *Guard) evidenceLocked(sp *span, w *hit.Write, at uint64, zone classify.Zone, page int) *classify.Evidence {
	e := &classify.Evidence{
		Write: w, AsVictim: at,
		Victim: classTask(&sp.s.entry), VictimStack: sp.stack,
		Writer: classify.Task{Name: "the kernel"},
		Armed:  true,
	}
	if now, ok := g.window.Frame(w.GPA); ok && sp.owner[page] != "" {
		e.Frame = classify.Frame{Owner: now.Owner, Stack: now.Owner == sp.owner[page]}
		g.frameHistory(&e.Frame, &now, w)
	}
	if !w.Kind.ByInstruction() && w.Kind != hit.Delivery && w.Kind != hit.PageWalk || w.VCPU < 0 {
		return e
	}
	writer, known := g.window.CurrentTask(
		debugwindow.VCPU{Index: w.VCPU, User: w.Registers.User, SP: w.Registers.SP, G: w.Registers.Goroutine},
		func(gva uint64, p []byte) int { return copy(p, g.read(w.Guest, gva, len(p))) })
	if known {
		e.Writer = classTask(&writer)
	}
	e.Own = g.ownLocked(&writer, known, w)
	if !w.Registers.User {
		frames := g.unwind(w)
		for _, f := range frames {
			e.Callers = append(e.Callers, f.Symbol.Function)
		}
		e.FrameOf, e.FrameSize = g.largestFrame(w, frames)
		e.FrameOf = report.Unqualified(e.FrameOf)
	}
	if w.GVA != 0 && w.Guest != nil {
		e.Walk.Known = true
		e.Walk.GPA, e.Walk.Mapped = w.Guest.Translate(w.GVA)
	}
	return e
}

func classTask(e *debugwindow.Entry) classify.Task {
	return classify.Task{ID: int(e.TID), Name: e.Name}
}

// ownLocked are the stacks on which whoever is on this vCPU may run.
func (g *Guard) ownLocked(writer *debugwindow.Entry, known bool, w *hit.Write) []classify.Span {
	var own []classify.Span
	add := func(lo, hi uint64) {
		if lo < hi && hi-lo <= 1<<30 {
			own = append(own, classify.Span{Lo: lo, Hi: hi})
		}
	}
	if known {
		for _, s := range writer.Valid() {
			if s.Kind != debugwindow.StackGoroutine {
				add(s.Lo, s.Hi)
			}
		}
	}
	if cpu, err := g.window.CPU(w.VCPU); err == nil {
		for _, s := range cpu.Stacks {
			if s.Kind != debugwindow.StackNone {
				add(s.Lo, s.Hi)
			}
		}
	}
	// In Go code the g register names the stack in use: a goroutine's, g0, the signal stack, the nucleus's.
	l := &g.window.Header.Runtime
	if gp := w.Registers.Goroutine; gp != 0 && !w.Registers.User {
		bounds := func(gp uint64) {
			lo, ok1 := g.word(w.Guest, gp+uint64(l.GStackLo))
			hi, ok2 := g.word(w.Guest, gp+uint64(l.GStackHi))
			if ok1 && ok2 {
				add(lo, hi)
			}
		}
		bounds(gp)
		if m, ok := g.word(w.Guest, gp+uint64(l.GM)); ok && m != 0 {
			for _, off := range []uint32{l.MG0, l.MGsignal} {
				if other, ok := g.word(w.Guest, m+uint64(off)); ok && other != 0 {
					bounds(other)
				}
			}
		}
	}
	return own
}

func (g *Guard) unwind(w *hit.Write) []symbols.Frame {
	word := func(gva uint64) (uint64, bool) { return g.word(w.Guest, gva) }
	return g.symbolsLocked().Unwind(w.Registers.Start(), symbols.Memory{Word: word, CallTarget: func(ret uint64) (uint64, bool) {
		if g.c.CallTarget == nil {
			return 0, false
		}
		return g.c.CallTarget(g.read(w.Guest, ret-uint64(g.c.CallLength), g.c.CallLength), ret)
	}})
}

// largestFrame is the biggest of the writer's frames, by the chain of frame pointers.
func (g *Guard) largestFrame(w *hit.Write, frames []symbols.Frame) (function string, size uint64) {
	const most = 64
	var chain []uint64
	for fp := w.Registers.FP; len(chain) < most && fp != 0 && (len(chain) == 0 || fp > chain[len(chain)-1]); {
		chain = append(chain, fp)
		next, ok := g.word(w.Guest, fp)
		if !ok {
			break
		}
		fp = next
	}
	if len(chain) == 0 {
		return "", 0
	}
	// amd64 keeps the frame pointer at the top of the frame, arm64 just below its bottom.
	if chain[0] >= w.Registers.SP {
		chain = append([]uint64{w.Registers.SP}, chain...)
	}
	// A function without a frame of its own comes first in frames and is not in the chain.
	skip := 0
	if ret, ok := g.word(w.Guest, w.Registers.FP+8); ok && len(frames) > 2 && frames[1].PC != ret && frames[2].PC == ret {
		skip = 1
	}
	for i := 0; i+1 < len(chain) && i+skip < len(frames); i++ {
		if s := chain[i+1] - chain[i]; s > size && frames[i+skip].Known {
			function, size = frames[i+skip].Symbol.Function, s
		}
	}
	return function, size
}

// frameHistory adds the allocator's records, where the kernel keeps them.
func (g *Guard) frameHistory(f *classify.Frame, now *debugwindow.Frame, w *hit.Write) {
	h := &now.History
	hz := g.window.Header.CounterHz
	if hz == 0 || h.Allocated == 0 {
		return
	}
	table := g.symbolsLocked()
	by := func(stack [5]uint32) string {
		for _, off := range stack {
			if s, ok := table.Lookup(g.window.Header.KernelVirt + uint64(off) - 1); ok && off != 0 {
				return s.Function
			}
		}
		return "unknown"
	}
	if h.Freed != 0 {
		f.History = append(f.History, classify.Allocation{What: "freed", By: by(h.FreeStack), Ago: w.Time - g.window.At(h.Freed), Task: classify.Task{ID: int(h.FreeTask)}})
	}
	f.History = append(f.History, classify.Allocation{What: "allocated", By: by(h.AllocStack), Ago: w.Time - g.window.At(h.Allocated), Task: classify.Task{ID: int(h.AllocTask)}})
}

// eventLocked makes a report.
func (g *Guard) eventLocked(sp *span, w *hit.Write, e *classify.Evidence, at, first uint64, zone classify.Zone) *report.Event {
	v := classify.Judge(e)
	// Only what lies in the stack's used part is shown as the victim's bytes.
	skip := int(first - at)
	end := w.Len
	if over := at + uint64(w.Len); over > sp.stack.Hi {
		end -= int(over - sp.stack.Hi)
	}
	if skip < 0 || skip >= end {
		skip = 0
	}
	event := &report.Event{
		T: w.Time, Kind: report.KindWrite,
		Rule: string(v.Rule), Verdict: v.Title, Because: v.Because, Next: v.Next,
		VCPU: w.VCPU, How: w.Kind.String(), Insn: w.Instruction, Source: w.Source, User: w.Registers.User,
		PC: report.Address(w.PC), SP: report.Address(w.Registers.SP), Flags: report.Address(w.Registers.Flags),
		GVA: report.Address(w.GVA), GPA: report.Address(w.GPA + uint64(skip)), Len: uint64(max(w.WholeLen, w.Len)), At: report.Address(at + uint64(skip)),
		Old: report.Hex(w.Old[skip:end]), New: report.Hex(w.New[skip:end]),
		Victim: g.victimLocked(sp, zone, w.Time), Engine: w.Engine.String(), Race: w.Race,
	}
	if w.WholeGVA != 0 {
		event.GVA = report.Address(w.WholeGVA)
	}
	if w.VCPU >= 0 && (w.Kind.ByInstruction() || w.Kind == hit.Delivery) { // who wrote, or was interrupted
		event.Task = &report.Task{ID: e.Writer.ID, Name: e.Writer.Name}
		if entry, ok := g.byTIDLocked(e.Writer.ID); ok {
			event.Task.Call = g.call(&entry)
		}
		if !w.Registers.User {
			event.Stack = report.Frames(g.unwind(w))
		}
	}
	g.notes(event)
	if g.c.History != nil {
		event.History = g.c.History(e.Writer.ID, w.GPA)
	}
	return event
}

// notes says which of the old bytes were return addresses.
func (g *Guard) notes(event *report.Event) {
	table := g.symbolsLocked()
	report.ReturnAddresses(event, func(v uint64) (string, bool) {
		s, ok := table.Lookup(v - 1)
		if !ok || s.Offset == 0 || s.File == "" {
			return "", false
		}
		return report.Frame{PC: report.Address(v), Function: s.Function, Offset: s.Offset + 1, File: s.File, Line: s.Line}.String(), true
	})
}

func (g *Guard) victimLocked(sp *span, zone classify.Zone, now int64) *report.Victim {
	entry := &sp.s.entry
	return &report.Victim{
		Task: &report.Task{ID: int(entry.TID), Name: entry.Name, Call: g.call(entry)},
		What: "kernel stack", Lo: report.Address(sp.stack.Lo), Hi: report.Address(sp.stack.Hi), SP: report.Address(sp.stack.SP),
		Zone: zone.String(), Asleep: max(now-sp.s.at, 1), Stack: g.where(entry),
	}
}

// where are the frames in which a task sleeps.
func (g *Guard) where(e *debugwindow.Entry) []report.Frame {
	table := g.symbolsLocked()
	var out []report.Frame
	for _, pc := range e.Where {
		if pc == 0 {
			break
		}
		f := report.Frame{PC: report.Address(pc)}
		if s, ok := table.Lookup(pc - 1); ok {
			f.Function, f.Offset, f.File, f.Line = s.Function, s.Offset+1, s.File, s.Line
		}
		out = append(out, f)
	}
	return out
}

func (g *Guard) call(e *debugwindow.Entry) string {
	nr, ok := e.Syscall()
	if !ok {
		return ""
	}
	if g.c.Syscall != nil {
		if name := g.c.Syscall(nr); name != "" {
			return name + "(2)"
		}
	}
	return fmt.Sprintf("system call %d", nr)
}

func (g *Guard) byTIDLocked(tid int) (debugwindow.Entry, bool) {
	if tid == 0 {
		return debugwindow.Entry{}, false
	}
	for _, e := range g.window.Tasks() {
		if int(e.TID) == tid && e.State != debugwindow.TaskDead {
			return e, true
		}
	}
	return debugwindow.Entry{}, false
}
