package watch

import (
	"errors"
	"fmt"

	"ringo/internal/kvm"
	"ringo/internal/pagetable"
)

// Mechanism is how a breakpoint stops a vCPU.
type Mechanism int

// Mechanisms.
const (
	// Any is a debug register if there is one, even if a watch has to give it up and be traced by pages, and an instruction
	// otherwise. Registers leave the guest's memory alone, and some emulated hosts do not tell KVM of breakpoint
	// instructions.
	Any Mechanism = iota
	Register
	Instruction
)

// Breakpoint is one in force.
type Breakpoint struct {
	ID  int
	GVA uint64
	// Mechanism is Register or Instruction.
	Mechanism Mechanism

	stop  func(cpu int) (goOn bool)
	patch *patch
}

// patch is a breakpoint instruction in guest memory.
type patch struct {
	gpa   uint64
	saved []byte
	users int
}

// Break begins a breakpoint. stop is called on the vCPU's thread, which stands at gva with the instruction not carried out; it must
// not wait for the guest. With its answer true the instruction is carried out with all others standing still, and the vCPU
// goes on. With false the vCPU stays where it is: it comes to the breakpoint again when it runs next, unless a Step has taken it
// over the instruction or the breakpoint has gone. Then stop has made the guest stand still (machine.Hold).
func (o *Owner) Break(gva uint64, m Mechanism, stop func(cpu int) (goOn bool)) (b *Breakpoint, err error) {
	pages := o.Prepare()
	slots := o.working()
	err = o.paused(func() error {
		o.mu.Lock()
		o.nextID++
		b = &Breakpoint{ID: o.nextID, GVA: gva, Mechanism: m, stop: stop}
		o.mu.Unlock()
		free, taken := o.freeBreakpoints(slots)
		if m != Instruction && free == 0 && taken != nil && pages == nil {
			if err := o.trace(taken); err == nil {
				free++
			} else if m == Register {
				return err
			}
		}
		switch {
		case m == Register && slots.Breakpoints == 0:
			return ErrNoHardware
		case m == Register && free == 0:
			return fmt.Errorf("%w: %d are in use", ErrSlots, slots.Breakpoints)
		case m == Any && free > 0:
			b.Mechanism = Register
		case m != Register:
			b.Mechanism = Instruction
			if err := o.doPatch(b); err != nil {
				return err
			}
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

// freeBreakpoints is how many debug registers are left for breakpoints, and a watch that could give one up.
func (o *Owner) freeBreakpoints(slots DebugSlots) (n int, give *Watch) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n = slots.Breakpoints - len(o.debug.Breakpoints)
	if !slots.Shared {
		return n, nil
	}
	for _, id := range sortedKeys(o.watches) {
		if w := o.watches[id]; len(w.parts) > 0 {
			give = w
		}
	}
	return n - len(o.debug.Watchpoints), give
}

// doPatch puts the breakpoint instruction into guest memory.
func (o *Owner) doPatch(b *Breakpoint) error {
	w := o.translate(b.GVA)
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

// unbreak takes a breakpoint out of force.
func (o *Owner) unbreak(b *Breakpoint) error {
	o.mu.Lock()
	for id, at := range o.told {
		if at == b.GVA {
			delete(o.told, id)
		}
	}
	last := false
	if b.patch != nil {
		b.patch.users--
		if last = b.patch.users == 0; last {
			delete(o.soft, b.patch.gpa)
		}
	}
	o.mu.Unlock()
	if last {
		if err := o.c.Memory.Poke(b.patch.gpa, b.patch.saved); err != nil {
			return err
		}
	}
	return o.update()
}

// Hide puts the guest's own bytes in place of breakpoint instructions into p, which was read at gpa.
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

// Under is p, which is about to be written at gpa, with the breakpoint instructions that lie there: what p has in their place
// is the guest's own from now on. The guest stands still.
func (o *Owner) Under(gpa uint64, p []byte) []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := append([]byte(nil), p...)
	for _, s := range o.soft {
		for i := range s.saved {
			if at := s.gpa + uint64(i) - gpa; at < uint64(len(p)) {
				s.saved[i], out[at] = p[at], softwareBreakpoint[i]
			}
		}
	}
	return out
}

// atBreakpoint serves a vCPU that stands at breakpoints of either kind.
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
		for _, k := range sortedKeys(o.breaks) {
			if b := o.breaks[k]; b.patch != nil && b.patch.gpa == w.PA {
				hits = append(hits, b)
			}
		}
	}
	told := len(hits) > 0 && o.told[id] == r.PC()
	o.mu.Unlock()
	switch {
	case len(hits) == 0 && len(indices) > 0:
		return true, nil // it has gone meanwhile
	case len(hits) == 0:
		return true, o.inject(id, x, d)
	}
	goOn := true
	if !told {
		for _, b := range hits {
			goOn = b.stop(id) && goOn
		}
	}
	if !goOn {
		return true, nil
	}
	o.mu.Lock()
	o.told[id] = r.PC()
	o.mu.Unlock()
	err = o.c.Machine.Exclusive(id, func() error { return o.stepHere(id, func() bool { return true }) })
	if errors.Is(err, ErrInterrupted) {
		err = nil // somebody wants the guest to stand still: once more when it goes on
	}
	return true, err
}
