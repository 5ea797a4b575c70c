package pagetrace

import (
	"bytes"

	"ringo/debug/hit"
	"ringo/internal/kvm"
	"ringo/internal/pagetable"
)

// record is a hit with whom it is for.
type record struct {
	w *Watch
	h *hit.Write
}

// view is the guest during a hit.
type view struct {
	e *Engine
	r *Registers
}

func (v view) ReadVirtual(gva uint64, n int) []byte  { return v.e.c.Memory.ReadVirtual(v.r, gva, n) }
func (v view) ReadPhysical(gpa uint64, p []byte) int { return v.e.c.Memory.Peek(gpa, p) }
func (v view) Translate(gva uint64) (gpa uint64, ok bool) {
	w := v.e.c.Memory.Walk(v.r, gva)
	return w.PA, w.Result == pagetable.WalkMapped
}

// Describe are the registers of r that a record has.
func Describe(r *Registers) hit.Registers {
	return hit.Registers{
		PC: r.PC(), SP: r.SP(), FP: r.FP(), Link: r.Link(), Flags: r.Flags(), Root: r.Root(r.PC()), Goroutine: r.Goroutine(),
		Level: r.Level(), User: r.User(), Backward: r.Backward(), Masked: r.Masked(),
	}
}

// base is a record with what all of this step have in common.
func (s *step) base() *hit.Write {
	h := &hit.Write{
		Time: int64(s.e.c.Machine.Elapsed()), VCPU: s.id, Kind: s.kind, Registers: Describe(s.r), Engine: hit.PageEngine, Guest: view{s.e, s.r},
	}
	if !s.event {
		h.PC, h.Code = s.r.PC(), s.code
		h.Instruction = s.e.texts.of(s.code, h.PC)
	}
	return h
}

// records are the accesses that the step has made to watched bytes. The pages are still open.
func (s *step) records() (out []record) {
	now := make(map[uint64][]byte, len(s.before))
	for at := range s.before {
		b := make([]byte, pageSize)
		s.e.c.Memory.Peek(at, b)
		now[at] = b
	}
	s.finish()
	told := make(map[uint64]*[pageSize]bool)
	for _, p := range s.pieces() {
		at := p.gpa &^ pageMask
		before, open := s.before[at]
		if !open {
			continue
		}
		if p.op.Write {
			out = append(out, s.written(p, before, now[at], mark(told, at))...)
		} else {
			for _, m := range s.e.matching(p.gpa, uint64(p.n), false) {
				h := s.cut(p, m.part, before, before)
				h.Access, h.Kind = hit.Read, hit.Load
				if s.kind != hit.Store {
					h.Kind = s.kind
				}
				out = append(out, record{m.w, h})
			}
		}
	}
	for _, at := range s.walked {
		if b := s.before[at&^pageMask]; b != nil {
			out = append(out, s.changed(at, 8, hit.PageWalk, b, now[at&^pageMask], mark(told, at&^pageMask))...)
		}
	}
	for at, b := range s.before {
		kind := hit.Unattributed
		if s.in.Unknown || s.blind {
			kind = s.kind
		}
		out = append(out, s.changed(at, pageSize, kind, b, now[at], mark(told, at))...)
	}
	if len(out) == 0 && len(s.before) > 0 {
		s.e.elsewhere.Add(1)
	}
	return out
}

func mark(told map[uint64]*[pageSize]bool, at uint64) *[pageSize]bool {
	if told[at] == nil {
		told[at] = new([pageSize]bool)
	}
	return told[at]
}

// finish corrects the operands by what the instruction has really done: a repeated string instruction may have been
// ended early, and one that faulted has done nothing.
func (s *step) finish() {
	if s.kind == hit.RepString && len(s.in.Until) > 0 {
		s.in.Operands = advanced(s.in.Operands, s.r, s.after)
		return
	}
	if s.faulted || s.in.Attempt && failed(&s.in, s.after) {
		s.in.Operands = nil
	}
}

// cut is a record for part of a piece.
func (s *step) cut(p piece, part Range, before, now []byte) *hit.Write {
	h := s.base()
	off := part.GPA & pageMask
	h.GPA, h.GVA, h.Len = part.GPA, p.gva+part.GPA-p.gpa, int(part.Size)
	h.WholeGVA, h.WholeLen = p.op.GVA, p.op.Len
	h.Old, h.New = bytes.Clone(before[off:off+part.Size]), bytes.Clone(now[off:off+part.Size])
	return h
}

// written are the records of a store's piece.
func (s *step) written(p piece, before, now []byte, told *[pageSize]bool) (out []record) {
	for _, m := range s.e.matching(p.gpa, uint64(p.n), true) {
		h := s.cut(p, m.part, before, now)
		if p.op.Partial && bytes.Equal(h.Old, h.New) {
			continue
		}
		out = append(out, record{m.w, h})
	}
	for i := range p.n {
		told[int(p.gpa&pageMask)+i] = true
	}
	return out
}

// changed are records for watched bytes within n at gpa that are not what they were and have not been told.
func (s *step) changed(gpa uint64, n int, kind hit.Kind, before, now []byte, told *[pageSize]bool) (out []record) {
	off := int(gpa & pageMask)
	for i := off; i < off+n; i++ {
		if before[i] == now[i] || told[i] {
			continue
		}
		from := i
		for i < off+n && before[i] != now[i] && !told[i] {
			told[i] = true
			i++
		}
		at := gpa&^pageMask + uint64(from)
		if s.e.byDevice(at, uint64(i-from)) {
			continue
		}
		for _, m := range s.e.matching(at, uint64(i-from), true) {
			h := s.cut(piece{gpa: at, n: i - from}, m.part, before, now)
			h.GVA, h.WholeGVA, h.WholeLen, h.Kind = 0, 0, 0, kind
			if !kind.ByInstruction() {
				h.PC, h.Code, h.Instruction = 0, nil, ""
			}
			if kind == hit.Unattributed {
				h.Race = true
				s.e.lost.Add(1)
			}
			out = append(out, record{m.w, h})
		}
	}
	return out
}

// remembered is how many writes of devices explain changes during a step.
const remembered = 64

// byDevice says that a device has lately written there.
func (e *Engine) byDevice(gpa, n uint64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, d := range e.done {
		if d.GPA <= gpa && gpa+n <= d.end() {
			return true
		}
	}
	return false
}

// Device tells of an access of the monitor itself, before it happens: machine.Memory's observer. data is what will be
// written, nil if that is not known yet.
func (e *Engine) Device(gpa uint64, size int, isWrite bool, data []byte, source string) {
	if e.watched.Load() == 0 || size <= 0 {
		return
	}
	for left, at := size, gpa; left > 0; {
		n := min(left, pageSize-int(at&pageMask))
		matches := e.matching(at, uint64(n), isWrite)
		e.mu.Lock()
		if isWrite && e.pages[at&^pageMask] != nil {
			e.done = append(e.done, write{Range{at, uint64(n)}})
			if len(e.done) > remembered {
				e.done = e.done[1:]
			}
		}
		e.mu.Unlock()
		for _, m := range matches {
			h := &hit.Write{
				Time: int64(e.c.Machine.Elapsed()), VCPU: -1, GPA: m.part.GPA, Len: int(m.part.Size), Kind: hit.Device, Source: source, Engine: hit.Accessor,
				Old: make([]byte, m.part.Size), Guest: nil,
			}
			e.c.Memory.Peek(h.GPA, h.Old)
			switch {
			case !isWrite:
				h.Access, h.New = hit.Read, h.Old
			case data == nil:
				h.New, h.Race = bytes.Clone(h.Old), true // its holder writes later
			default:
				off := m.part.GPA - gpa
				h.New = bytes.Clone(data[off : off+m.part.Size])
			}
			e.emit(m.w, h)
		}
		at, left = at+uint64(n), left-n
	}
}

// Emulated carries out a store that KVM's emulator could not, as it goes to a closed page, and tells of it;
// machine.Tracer's.
func (e *Engine) Emulated(id int, x *kvm.Exit) error {
	e.exits.Add(1)
	n, data := len(x.Data), bytes.Clone(x.Data)
	old := make([]byte, n)
	e.c.Memory.Peek(x.Addr, old)
	if err := e.c.Memory.Poke(x.Addr, x.Data); err != nil {
		return err
	}
	matches := e.matching(x.Addr, uint64(min(n, pageSize-int(x.Addr&pageMask))), true)
	if len(matches) == 0 {
		e.elsewhere.Add(1)
		return nil
	}
	tell := func(s *step) {
		for _, m := range matches {
			h := s.base()
			off := m.part.GPA - x.Addr
			h.GPA, h.Len = m.part.GPA, int(m.part.Size)
			h.Old, h.New = bytes.Clone(old[off:off+m.part.Size]), bytes.Clone(data[off:off+m.part.Size])
			h.Race = true // the other vCPUs ran
			e.emit(m.w, h)
		}
	}
	err := e.c.Machine.Exclusive(id, func() error {
		r, err := e.c.Machine.Registers(id)
		if err == nil {
			tell(&step{e: e, id: id, r: r, code: e.c.Memory.ReadVirtual(r, r.PC(), instructionLength)})
		}
		return err
	})
	if err != nil { // the machine was held or has stopped: the store has happened all the same
		tell(&step{e: e, id: id, r: new(Registers), event: true, kind: hit.Unattributed})
		return nil
	}
	return nil
}
