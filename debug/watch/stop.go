package watch

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"ringo/debug/hit"
	"ringo/debug/pagetrace"
	"ringo/internal/kvm"
	"ringo/internal/pagetable"
	"ringo/internal/store"
)

// Debug implements machine.Tracer.
func (o *Owner) Debug(id int, x *kvm.Exit) (handled bool, err error) {
	o.exits.Add(1)
	o.mu.Lock()
	d := o.debugOf(id)
	pieces, points := o.pieces, o.points
	o.mu.Unlock()
	stop := decodeDebug(x, &d)
	if stop.Step {
		// What the instruction has hit is told first. A breakpoint behind it is met when the vCPU goes on.
		if len(stop.Watchpoints) > 0 {
			err = o.behind(id, owners(pieces, stop.Watchpoints), beside(pieces, &d, stop.Watchpoints))
		}
		return true, errors.Join(err, o.stepped(id))
	}
	if stop.Software || len(stop.Breakpoints) > 0 {
		return o.atBreakpoint(id, x, &d, points, stop.Breakpoints)
	}
	if len(stop.Watchpoints) == 0 {
		return true, o.inject(id, x, &d)
	}
	if watchesBehind {
		return true, o.behind(id, owners(pieces, stop.Watchpoints), beside(pieces, &d, stop.Watchpoints))
	}
	return true, o.c.Machine.Exclusive(id, func() error { return o.before(id, owners(pieces, stop.Watchpoints)) })
}

// owners are the watches to which pieces belong, each once.
func owners(pieces []*Watch, indices []int) (out []*Watch) {
	for _, i := range indices {
		if !slices.Contains(out, pieces[i]) {
			out = append(out, pieces[i])
		}
	}
	return out
}

// beside are the watches that share bytes with those that were hit, and were not named: QEMU's CPUs name one register for an
// access that matches several.
func beside(pieces []*Watch, d *GuestDebug, named []int) (out []*Watch) {
	hit := owners(pieces, named)
	for i, w := range pieces {
		for _, n := range named {
			a, b := d.Watchpoints[i], d.Watchpoints[n]
			if a.GVA < b.GVA+uint64(b.Len) && b.GVA < a.GVA+uint64(a.Len) && !slices.Contains(hit, w) && !slices.Contains(out, w) {
				out = append(out, w)
			}
		}
	}
	return out
}

// inject gives a debug exception back to the guest, whose own it is.
func (o *Owner) inject(id int, x *kvm.Exit, d *GuestDebug) error {
	if err := o.c.Machine.InjectDebug(id, x, d); err != nil {
		return fmt.Errorf("give the guest its own debug exception: %w", err)
	}
	return nil
}

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

// behind serves amd64 watchpoints: the access has happened, PC is behind it. Of others it is to be seen whether they were hit, too.
func (o *Owner) behind(id int, watches, others []*Watch) error {
	r, err := o.c.Machine.Registers(id)
	if err != nil {
		return err
	}
	for i, w := range append(watches, others...) {
		pc, code, in := o.previous(r, w)
		now := o.c.Memory.ReadVirtual(r, w.GVA, int(w.Len))
		w.mu.Lock()
		old := w.last
		w.last = now
		w.mu.Unlock()
		if _, _, op := w.accessed(&in); i >= len(watches) && op == nil && bytes.Equal(old, now) {
			continue
		}
		h := o.record(id, r)
		describe(h, pc, code, &in)
		h.Race = o.c.Machine.CPUs() > 1
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

// around is the page engine's word that it carries out an instruction: whoever watches with debug registers is told of it,
// and a step that was asked for is done.
func (o *Owner) around(id int, r *Registers, in *store.Instruction) (after func()) {
	tell := o.watchers(id, r, in)
	o.mu.Lock()
	_, stepping := o.steps[id]
	delete(o.told, id)
	o.mu.Unlock()
	if tell == nil && !stepping {
		return nil
	}
	return func() {
		if tell != nil {
			tell()
		}
		if stepping {
			o.failed(o.stepped(id))
		}
	}
}

// watchers tells the debug registers' watches of an instruction that is carried out without them.
func (o *Owner) watchers(id int, r *Registers, in *store.Instruction) (after func()) {
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
