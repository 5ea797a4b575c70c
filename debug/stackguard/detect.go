package stackguard

import (
	"encoding/binary"
	"fmt"

	"ringo/debug/classify"
	"ringo/debug/report"
	"ringo/internal/debugwindow"
)

// maxSnapshot bounds what is compared, bytes.
const maxSnapshot = 1 << 20

// mismatchLocked judges a stack that the kernel found changed. In attribute mode the writes have been reported already; if there were none,
// the engine has missed one, which is a report of its own.
func (g *Guard) mismatchLocked(slot int) *report.Event {
	if !g.openLocked() {
		return nil
	}
	e, err := g.window.Task(slot)
	if err != nil {
		return nil
	}
	ev := &classify.Evidence{Changed: true, Victim: classTask(&e)}
	asleep := int64(0)
	switch s, p := g.sleepers[slot], g.last[slot]; {
	case s != nil:
		if s.hits > 0 {
			return nil
		}
		ev.Armed, asleep = s.watch != nil && s.beside < flood, max(g.c.Now()-s.at, 1)
	case p.tid == int(e.TID) && p.sleep == e.Parks:
		if p.hits > 0 {
			return nil
		}
		ev.Armed, asleep = p.watched, max(p.to-p.from, 1)
	}
	v := classify.Judge(ev)
	event := &report.Event{
		T: g.c.Now(), Kind: report.KindChange, Rule: string(v.Rule), Verdict: v.Title, Because: v.Because, Next: v.Next, VCPU: int(e.CPU), Engine: "comparison",
		Victim: &report.Victim{
			Task: &report.Task{ID: int(e.TID), Name: e.Name, Call: g.call(&e)}, What: "kernel stack",
			Asleep: asleep, Stack: g.where(&e),
		},
	}
	if d := g.difference(&e); d != nil {
		st := d.stack
		event.Victim.Lo, event.Victim.Hi, event.Victim.SP = report.Address(st.Lo), report.Address(st.Hi), report.Address(d.from)
		event.At = report.Address(d.at)
		event.Old, event.New = report.Hex(d.old), report.Hex(d.now)
		event.Victim.Zone = classify.Stack{Span: classify.Span{Lo: st.Lo, Hi: st.Hi}, SP: d.from, Frame: savedFrame}.Zone(d.at).String()
		event.Because = append(event.Because, fmt.Sprintf("%d bytes from %#x on; the last comparison was when it fell asleep", len(d.old), d.at))
	}
	if event.Victim.Hi == 0 {
		// The kernel says it differs and the monitor sees no difference: believe neither.
		st := e.Stacks[0]
		event.Victim.Lo, event.Victim.Hi = report.Address(st.Lo), report.Address(max(st.Hi, st.Lo+1))
		event.Because = append(event.Because, "the bytes cannot be shown: the snapshot or the stack is not readable, or is the same again",
			fmt.Sprintf("snapshot at %#x, %d bytes; stack in use from %#x to %#x", e.Snapshot, e.SnapshotSize, st.Keep, st.Hi))
	}
	g.notes(event)
	p := g.last[slot]
	p.wrong = true
	g.last[slot] = p
	g.count.reports++
	return event
}

// difference is where a stack differs from its snapshot, in the first of an entry's stacks that does.
type difference struct {
	stack    debugwindow.Stack
	from, at uint64 // GVA: of what was compared, and of the first byte that differs
	old, now []byte // from there to the last one
}

// difference compares the stacks of an entry with the kernel's snapshot of them; nil: nothing is seen to differ.
func (g *Guard) difference(e *debugwindow.Entry) *difference {
	offset := uint64(0)
	for i, st := range e.Valid() {
		from := st.Keep
		if i > 0 || st.Kind == debugwindow.StackFixed {
			from = st.SP
		}
		if from == 0 || from >= st.Hi || st.Hi-from > maxSnapshot {
			continue
		}
		old := g.read(nil, e.Snapshot+offset, int(st.Hi-from))
		now := g.read(nil, from, int(st.Hi-from))
		offset += st.Hi - from
		if len(old) != len(now) || len(old) == 0 {
			continue
		}
		if first, last := differ(old, now); first >= 0 {
			return &difference{st, from, from + uint64(first), old[first : last+1], now[first : last+1]}
		}
	}
	return nil
}

// differ is the first and the last index at which a and b, of one length, differ; -1 for nowhere.
func differ(a, b []byte) (first, last int) {
	first, last = -1, -1
	for i := range a {
		if a[i] != b[i] {
			if first < 0 {
				first = i
			}
			last = i
		}
	}
	return first, last
}

// born looks at the frame that a task has just saved on its fixed stack: one that is bad now needs no writer.
func (g *Guard) born(slot int) {
	g.mu.Lock()
	event := g.bornLocked(slot)
	g.mu.Unlock()
	if event != nil {
		g.c.Report(event)
	}
}

func (g *Guard) bornLocked(slot int) *report.Event {
	s := g.sleepers[slot]
	if s == nil {
		return nil
	}
	for _, sp := range s.spans {
		if sp.kind != debugwindow.StackFixed {
			continue
		}
		at := sp.stack.SP + g.c.SavedPC
		word := g.read(nil, at, 8)
		h := &g.window.Header
		if len(word) < 8 {
			continue
		}
		if pc := binary.LittleEndian.Uint64(word); pc < h.KernelVirt || pc-h.KernelVirt >= h.KernelSize {
			e := &classify.Evidence{Armed: true, Victim: classTask(&s.entry), BadFrame: fmt.Sprintf("the return address in its frame, at %#x, is %#x, which is no code of the kernel", at, pc)}
			if frames := g.where(&s.entry); len(frames) > 0 {
				e.SavedBy = "the switch away in " + frames[0].String()
			}
			v := classify.Judge(e)
			g.count.reports++
			return &report.Event{
				T: g.c.Now(), Kind: report.KindChange, Rule: string(v.Rule), Verdict: v.Title, Because: v.Because, Next: v.Next, VCPU: int(s.entry.CPU),
				Engine: "comparison", At: report.Address(at), Old: report.Hex(word), New: report.Hex(word), Victim: g.victimLocked(sp, classify.Saved, g.c.Now()),
			}
		}
	}
	return nil
}
