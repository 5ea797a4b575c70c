package watch

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"ringo/debug/hit"
	"ringo/debug/pagetrace"
	"ringo/internal/kvm"
	"ringo/internal/pagetable"
	"ringo/internal/store"
)

// Breakpoint is one in force. Stop is called on the vCPU's thread, which stands at GVA, with the instruction not carried out;
// its answer is what becomes of the guest. It must not wait for the guest.
type Breakpoint struct {
	ID       int
	GVA      uint64
	Hardware bool
	Stop     func(cpu int) hit.Action

	patch *patch
}

// patch is a software breakpoint's place.
type patch struct {
	gpa   uint64
	saved []byte
	users int
}

// Break begins a breakpoint.
func (o *Owner) Break(gva uint64, hardware bool, stop func(cpu int) hit.Action) (b *Breakpoint, err error) {
	_ = o.Prepare() // page tracing is not needed
	slots := o.working()
	err = o.paused(func() error {
		o.mu.Lock()
		o.nextID++
		b = &Breakpoint{ID: o.nextID, GVA: gva, Hardware: hardware, Stop: stop}
		used := len(o.debug.Breakpoints)
		if slots.Shared {
			used += len(o.debug.Watchpoints)
		}
		o.mu.Unlock()
		if !hardware {
			if err := o.doPatch(b); err != nil {
				return err
			}
		} else if slots.Breakpoints == 0 {
			return ErrNoHardware
		} else if used >= slots.Breakpoints {
			return fmt.Errorf("%w: %d are in use", ErrSlots, used)
		}
		o.mu.Lock()
		o.breaks[b.ID] = b
		o.mu.Unlock()
		return o.update()
	})
	if err != nil {
		return nil, err
	}
	return b, nil
}

// doPatch puts the breakpoint instruction into guest memory.
func (o *Owner) doPatch(b *Breakpoint) error {
	r, err := o.c.Machine.Registers(0)
	if err != nil {
		return err
	}
	w := o.c.Memory.Walk(r, b.GVA)
	if w.Result != pagetable.WalkMapped || w.PA&0xfff+uint64(len(softwareBreakpoint)) > 0x1000 {
		return fmt.Errorf("breakpoint at %#x: %w", b.GVA, ErrUnmapped)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	p := o.soft[w.PA]
	if p == nil {
		p = &patch{gpa: w.PA, saved: make([]byte, len(softwareBreakpoint))}
		o.c.Memory.Peek(p.gpa, p.saved)
		if err := o.c.Memory.Poke(p.gpa, softwareBreakpoint); err != nil {
			return err
		}
		o.soft[w.PA] = p
	}
	p.users++
	b.patch = p
	return nil
}

func (o *Owner) unpatch(b *Breakpoint) error {
	o.mu.Lock()
	b.patch.users--
	last := b.patch.users == 0
	if last {
		delete(o.soft, b.patch.gpa)
	}
	o.mu.Unlock()
	if last {
		if err := o.c.Memory.Poke(b.patch.gpa, b.patch.saved); err != nil {
			return err
		}
	}
	return o.update()
}

// Hide puts the guest's own bytes in place of software breakpoints into p, which was read at gpa.
func (o *Owner) Hide(gpa uint64, p []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, s := range o.soft {
		for i, b := range s.saved {
			if at := s.gpa + uint64(i) - gpa; at < uint64(len(p)) {
				p[at] = b
			}
		}
	}
}

// Debug implements machine.Tracer.
func (o *Owner) Debug(id int, x *kvm.Exit) (handled bool, err error) {
	o.exits.Add(1)
	o.mu.Lock()
	d := o.debug
	pieces, points := o.pieces, o.points
	o.mu.Unlock()
	stop := decodeDebug(x, &d)
	if stop.Software || len(stop.Breakpoints) > 0 {
		return o.atBreakpoint(id, x, &d, points, stop.Breakpoints)
	}
	if len(stop.Watchpoints) == 0 {
		return true, o.c.Machine.InjectDebug(id, x, &d)
	}
	var hit []*Watch
	for _, i := range stop.Watchpoints {
		if !slices.Contains(hit, pieces[i]) {
			hit = append(hit, pieces[i])
		}
	}
	if watchesBehind {
		return true, o.behind(id, hit)
	}
	return true, o.c.Machine.Exclusive(id, func() error { return o.before(id, hit) })
}

// atBreakpoint serves hardware and software breakpoints.
func (o *Owner) atBreakpoint(id int, x *kvm.Exit, d *GuestDebug, points []*Breakpoint, indices []int) (bool, error) {
	r, err := o.c.Machine.Registers(id)
	if err != nil {
		return false, err
	}
	var hits []*Breakpoint
	for _, i := range indices {
		if points[i].GVA == r.PC() {
			hits = append(hits, points[i])
		}
	}
	o.mu.Lock()
	if w := o.c.Memory.Walk(r, r.PC()); w.Result == pagetable.WalkMapped {
		for _, b := range o.breaks {
			if b.patch != nil && b.patch.gpa == w.PA {
				hits = append(hits, b)
			}
		}
	}
	told := o.over[id] == r.PC() && len(hits) > 0
	delete(o.over, id)
	o.mu.Unlock()
	switch {
	case len(hits) == 0 && len(indices) > 0:
		return true, nil
	case len(hits) == 0:
		return true, o.c.Machine.InjectDebug(id, x, d)
	case told:
		return true, o.c.Machine.Exclusive(id, func() error { return o.StepHere(id) })
	}
	action := hit.Continue
	for _, b := range hits {
		action = max(action, b.Stop(id))
	}
	if action == hit.Continue {
		return true, o.c.Machine.Exclusive(id, func() error { return o.StepHere(id) })
	}
	o.mu.Lock()
	o.over[id] = r.PC()
	o.mu.Unlock()
	o.act(nil, action)
	return true, nil
}

// Step carries out one instruction of a vCPU, for a caller who has paused the guest. Interrupts are kept away.
func (o *Owner) Step(id int) error {
	return o.c.Machine.OnCPU(id, func() error { return o.StepHere(id) })
}

// StepHere is Step on the vCPU's own thread, while all others stand still.
func (o *Owner) StepHere(id int) (err error) {
	m := o.c.Machine
	r, err := m.Registers(id)
	if err != nil {
		return err
	}
	o.mu.Lock()
	delete(o.over, id)
	lifted := o.soft
	for _, p := range lifted {
		err = errors.Join(err, o.c.Memory.Poke(p.gpa, p.saved))
	}
	restored := o.debug
	o.mu.Unlock()
	defer func() {
		for _, p := range lifted {
			err = errors.Join(err, o.c.Memory.Poke(p.gpa, softwareBreakpoint))
		}
		err = errors.Join(err, m.SetGuestDebug(id, &restored), m.UnmaskInterrupts(id, r))
	}()
	d := &GuestDebug{Step: true, BlockInterrupts: o.c.CanBlock}
	if err := errors.Join(err, m.MaskInterrupts(id, r), m.SetGuestDebug(id, d)); err != nil {
		return err
	}
	var x kvm.Exit
	for {
		err := m.Enter(id, &x)
		o.exits.Add(1)
		switch {
		case errors.Is(err, kvm.ErrInterrupted):
			continue
		case errors.Is(err, kvm.ErrKicked):
			if m.Stopped() {
				return nil
			}
			return ErrInterrupted
		case errors.Is(err, unix.EFAULT):
			// The page engine steps over the very instruction.
			if handled, err := o.engine.Fault(id); err != nil || handled {
				return err
			}
			return err
		case err != nil:
			return fmt.Errorf("step: KVM_RUN: %w", err)
		case x.Reason == kvm.ReasonDebug:
			return nil
		}
		if err := m.Serve(id, &x); err != nil || m.Stopped() {
			return err
		}
	}
}

// ErrInterrupted: somebody wanted the guest to stand still before the step was complete: a halted vCPU takes a
// step only with the next interrupt.
var ErrInterrupted = errors.New("the step was interrupted")

// record is what all hits of one instruction have in common.
func (o *Owner) record(id int, r *Registers) *hit.Write {
	return &hit.Write{Time: int64(o.c.Machine.Elapsed()), VCPU: id, Registers: pagetrace.Describe(r), Engine: hit.DebugRegister, Guest: guest{o, r}}
}

type guest struct {
	o *Owner
	r *Registers
}

func (g guest) ReadVirtual(gva uint64, n int) []byte  { return g.o.c.Memory.ReadVirtual(g.r, gva, n) }
func (g guest) ReadPhysical(gpa uint64, p []byte) int { return g.o.c.Memory.Peek(gpa, p) }
func (g guest) Translate(gva uint64) (gpa uint64, ok bool) {
	w := g.o.c.Memory.Walk(g.r, gva)
	return w.PA, w.Result == pagetable.WalkMapped
}

// describe fills in the instruction at pc, which in has decoded.
func describe(h *hit.Write, pc uint64, code []byte, in *store.Instruction) {
	h.PC, h.Code = pc, code
	if in.Len > 0 && in.Len <= len(code) {
		h.Code = code[:in.Len]
	}
	h.Instruction, _ = disassemble(code, pc, nil)
	h.Kind = pagetrace.KindOf(in.Class)
}

// accessed is the part of the watch that the instruction accesses; all of it if that is not known.
func (w *Watch) accessed(in *store.Instruction) (from, n uint64, op *store.Operand) {
	for i := range in.Operands {
		o := &in.Operands[i]
		if !o.Overlaps(w.GVA, w.Len) || !o.Write && !w.Reads {
			continue
		}
		from = max(o.GVA, w.GVA)
		end := min(o.GVA+uint64(o.Len-1), w.GVA+w.Len-1)
		if op == nil || o.Write {
			op, n = o, end-from+1
		}
		if o.Write {
			return max(o.GVA, w.GVA), n, o
		}
	}
	if op == nil {
		return w.GVA, w.Len, nil
	}
	return max(op.GVA, w.GVA), n, op
}

// tell gives a hit with the bytes around to the watch's sink.
func (o *Owner) tell(w *Watch, h *hit.Write, in *store.Instruction, old, now []byte) {
	from, n, op := w.accessed(in)
	off := from - w.GVA
	if uint64(len(old)) < off+n || uint64(len(now)) < off+n {
		old, now = make([]byte, off+n), append(now, make([]byte, off+n)...)
		h.Race = true
	}
	h.GVA, h.Len, h.Watch = from, int(n), w.ID
	h.Old, h.New = bytes.Clone(old[off:off+n]), bytes.Clone(now[off:off+n])
	if op != nil {
		h.WholeGVA, h.WholeLen = op.GVA, op.Len
		if !op.Write {
			h.Access = hit.Read
			if h.Kind == hit.Store {
				h.Kind = hit.Load
			}
		}
	}
	if gpa, ok := h.Guest.Translate(from); ok {
		h.GPA = gpa
	}
	h.Seq = o.seq.Add(1)
	h.Settle()
	o.hits.Add(1)
	if a := w.Sink.Hit(h); a != hit.Continue {
		o.act(h, a)
	}
	h.Guest = nil
}

// behind serves amd64 watchpoints: the access has happened, PC is behind it.
func (o *Owner) behind(id int, watches []*Watch) error {
	r, err := o.c.Machine.Registers(id)
	if err != nil {
		return err
	}
	for _, w := range watches {
		pc, code, in := o.previous(r, w)
		h := o.record(id, r)
		describe(h, pc, code, &in)
		h.Race = o.c.Machine.CPUs() > 1
		now := o.c.Memory.ReadVirtual(r, w.GVA, int(w.Len))
		w.mu.Lock()
		old := w.last
		w.last = now
		w.mu.Unlock()
		o.tell(w, h, &in, old, now)
	}
	return nil
}

// previous is the instruction before PC that has made the access: decoded from the function's start where that is known, or
// else the one of all possible lengths that accesses the watch. A repeated string instruction may be under way still.
func (o *Owner) previous(r *Registers, w *Watch) (pc uint64, code []byte, in store.Instruction) {
	at := r.PC()
	read := func(gva uint64, n int) []byte { return o.c.Memory.ReadVirtual(r, gva, n) }
	env := o.c.Environment
	env.Code = read
	code = read(at, instructionLength)
	if in = decodeStore(code, r, &env); in.Class == store.String && len(in.Until) > 0 && in.Writes() {
		return at, code, in
	}
	if o.c.FunctionStart != nil {
		const longest = 1 << 16
		if start, ok := o.c.FunctionStart(at - 1); ok && at > start && at-start < longest {
			body := read(start, int(at-start)+instructionLength)
			for p := start; p < at && p-start < uint64(len(body)); {
				one := decodeStore(body[p-start:], r, &env)
				n := one.Len
				if one.Unknown && n == 0 {
					_, n = disassemble(body[p-start:], p, nil)
				}
				if p+uint64(n) == at {
					return p, body[p-start:], undo(one, w)
				}
				p += uint64(max(n, 1))
			}
		}
	}
	return o.voted(r, read, w, &env)
}

// voted is previous without symbols: instruction streams that begin at different bytes soon fall into step, so the last
// instruction of most of those that arrive at the address is the right one.
func (o *Owner) voted(r *Registers, read func(gva uint64, n int) []byte, w *Watch, env *store.Environment) (pc uint64, code []byte, in store.Instruction) {
	const back = 64
	at := r.PC()
	body := read(at-back, back+instructionLength)
	if len(body) < back {
		return at, read(at, instructionLength), store.Instruction{Unknown: true}
	}
	votes := map[int]int{}
	for first := 0; first < back; first += alignment {
		last, p := -1, first
		for p < back {
			last = p
			p += max(decodeStore(body[p:], r, env).Len, 1)
		}
		if p == back {
			votes[last]++
		}
	}
	best, score := -1, 0
	for _, p := range sortedKeys(votes) {
		one := decodeStore(body[p:], r, env)
		n := votes[p]
		if _, _, op := w.accessed(&one); op != nil {
			n += back // what has been seen to happen outweighs the rest
		}
		if n > score {
			best, score = p, n
		}
	}
	if best < 0 {
		return at, read(at, instructionLength), store.Instruction{Unknown: true}
	}
	return at - uint64(back-best), body[best:], undo(decodeStore(body[best:], r, env), w)
}

// undo drops operands computed with registers that the instruction has changed.
func undo(in store.Instruction, w *Watch) store.Instruction {
	if _, _, op := w.accessed(&in); op == nil {
		in.Operands = nil
	}
	return in
}

// before serves arm64 watchpoints: the access is about to happen. All other vCPUs stand still, and around tells.
func (o *Owner) before(id int, watches []*Watch) error {
	o.mu.Lock()
	o.forced = watches
	o.mu.Unlock()
	return o.engine.Carry(id)
}

// around tells the debug registers' watches of an instruction that is carried out without them.
func (o *Owner) around(id int, r *Registers, in *store.Instruction) (after func()) {
	o.mu.Lock()
	forced := o.forced
	o.forced = nil
	var watches []*Watch
	for _, w := range o.watches {
		if len(w.parts) == 0 {
			continue
		}
		if _, _, op := w.accessed(in); op != nil || slices.Contains(forced, w) {
			watches = append(watches, w)
		}
	}
	o.mu.Unlock()
	if len(watches) == 0 {
		return nil
	}
	read := func(gva uint64, n int) []byte { return o.c.Memory.ReadVirtual(r, gva, n) }
	code := read(r.PC(), instructionLength)
	old := make([][]byte, len(watches))
	for i, w := range watches {
		old[i] = read(w.GVA, int(w.Len))
	}
	return func() {
		for i, w := range watches {
			h := o.record(id, r)
			describe(h, r.PC(), code, in)
			now := read(w.GVA, int(w.Len))
			w.mu.Lock()
			w.last = now
			w.mu.Unlock()
			o.tell(w, h, in, old[i], now)
		}
	}
}
