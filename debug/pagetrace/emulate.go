package pagetrace

import (
	"bytes"
	"sync"

	"ringo/internal/pagetable"
)

// verdict is what became of an attempt to carry out an instruction in the monitor.
type verdict int

const (
	notEmulated verdict = iota // it has to be stepped over
	needsAlone                 // a sink wants the other vCPUs to stand still
	emulated
)

// emulate carries out the store at which vCPU id stands in the monitor's own view of memory, so that the page stays closed and the other
// vCPUs may run on: what they do to the page comes here too. alone: they stand still. Nothing has happened unless the answer is emulated.
//
// It is right whatever has ended KVM_RUN: the vCPU stands before the instruction, which is carried out as a whole and would not
// have ended in an exception. What it may not be is the CPU's own work for an access (page tables that are watched, a frame being pushed).
func (e *Engine) emulate(id int, alone bool) (verdict, error) {
	m := e.c.Machine
	if e.c.StepOnly || e.c.Debug(id).Step {
		return notEmulated, nil
	}
	if settled, err := m.Settled(id); err != nil || !settled {
		return notEmulated, err
	}
	// Nothing below looks at other registers than these: not the decoders, not what a hit says.
	r, err := m.AtInstruction(id, func(r *Registers) []byte { return e.c.Memory.ReadVirtual(r, r.PC(), instructionLength) })
	if err != nil {
		return notEmulated, err
	}
	s := &step{e: e, id: id, r: r}
	s.decode()
	st, ok := decodeEmulated(s.code, r, &s.in, func(n int) ([16]byte, error) { return m.VectorRegister(id, n) })
	if !ok || st.GVA&pageMask+uint64(st.Len) > pageSize {
		return notEmulated, nil
	}
	to := e.c.Memory.Walk(r, st.GVA)
	if !settledFor(&to, r) {
		return notEmulated, nil
	}
	fetched := e.c.Memory.Walk(r, r.PC())
	// One store at a time, so that sinks are told in the order in which memory changes.
	e.emulation.Lock()
	defer e.emulation.Unlock()
	matches, v := e.emulable(to, fetched, st.Len, alone)
	if v != emulated {
		return v, nil
	}
	after := e.c.Around(id, r, &s.in)
	behind := st.After
	old, now := make([]byte, st.Len), bytes.Clone(st.Data[:st.Len])
	if st.Update == nil {
		e.c.Memory.Peek(to.PA, old)
		err = e.c.Memory.Store(to.PA, now)
	} else {
		var was, is uint64
		was, is, err = e.c.Memory.Update(to.PA, st.Len, func(old uint64) uint64 {
			behind = st.After
			return st.Update(old, &behind)
		})
		littleEndian(old, was)
		littleEndian(now, is)
	}
	if err == nil {
		err = m.Carried(id, r, &behind)
	}
	if err != nil {
		return emulated, err
	}
	e.emulations.Add(1)
	if len(matches) == 0 {
		e.elsewhere.Add(1)
	}
	for _, x := range matches {
		h := s.base()
		off := x.part.GPA - to.PA
		h.GPA, h.GVA, h.Len = x.part.GPA, st.GVA+off, int(x.part.Size)
		h.WholeGVA, h.WholeLen = st.GVA, st.Len
		h.Old, h.New = bytes.Clone(old[off:off+x.part.Size]), bytes.Clone(now[off:off+x.part.Size])
		e.emit(x.w, h)
	}
	if after != nil {
		after()
	}
	return emulated, nil
}

func littleEndian(b []byte, v uint64) {
	for i := range b {
		b[i] = byte(v >> (8 * i))
	}
}

// emulable says whether a write of n bytes through the walk to, by an instruction found through fetched, goes to a closed page and
// nothing else that the CPU does for it does; the watched parts of it.
func (e *Engine) emulable(to, fetched pagetable.Walk, n int, alone bool) ([]match, verdict) {
	matches := e.matching(to.PA, uint64(n), true)
	e.mu.Lock()
	defer e.mu.Unlock()
	is := func(gpa uint64) Page {
		if p := e.pages[gpa&^pageMask]; p != nil {
			return p.state
		}
		return Open
	}
	if is(to.PA) == Open || is(fetched.PA) == Closed {
		return nil, notEmulated
	}
	for _, w := range []*pagetable.Walk{&to, &fetched} {
		for _, t := range w.Steps[:w.N] {
			if is(t.EntryAt) != Open {
				return nil, notEmulated
			}
		}
	}
	for _, x := range matches {
		if !x.w.concurrent && !alone {
			return nil, needsAlone
		}
	}
	return matches, emulated
}

// texts remembers instructions as text: the same few make most hits.
type texts struct {
	mu   sync.Mutex
	list map[text]string
}

type text struct {
	pc   uint64
	n    int
	code [instructionLength]byte
}

const maxTexts = 256

func (t *texts) of(code []byte, pc uint64) string {
	k := text{pc: pc, n: len(code)}
	copy(k.code[:], code)
	t.mu.Lock()
	defer t.mu.Unlock()
	s, ok := t.list[k]
	if !ok {
		s, _ = disassemble(code, pc, nil)
		if t.list == nil || len(t.list) >= maxTexts {
			t.list = make(map[text]string)
		}
		t.list[k] = s
	}
	return s
}
