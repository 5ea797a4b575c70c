package watch

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"ringo/internal/kvm"
)

// step is one instruction that a vCPU is to carry out when the guest goes on.
type step struct {
	done   func()
	before *Registers // before interrupts were masked
}

// ErrInterrupted: somebody wanted the guest to stand still before the step was complete: a halted vCPU takes a
// step only with the next interrupt.
var ErrInterrupted = errors.New("the step was interrupted")

// StepNext lets vCPU id carry out one instruction when the guest next runs, while the other vCPUs run too, and calls done on its
// thread. Interrupts are kept away; a breakpoint where the vCPU stands comes first. done makes the guest stand still, or
// else the vCPU goes on. cancel takes a step back that has not been done. The caller has paused the guest.
func (o *Owner) StepNext(id int, done func()) (cancel func() error, err error) {
	err = o.paused(func() error {
		r, err := o.c.Machine.Registers(id)
		if err == nil {
			err = o.c.Machine.MaskInterrupts(id, r)
		}
		if err != nil {
			return err
		}
		o.mu.Lock()
		o.steps[id] = &step{done: done, before: r}
		delete(o.told, id)
		o.mu.Unlock()
		return o.report(id)
	})
	return func() error { return o.paused(func() error { _, err := o.unstep(id); return err }) }, err
}

// unstep ends a step. On the vCPU's thread, or while it stands still.
func (o *Owner) unstep(id int) (s *step, err error) {
	o.mu.Lock()
	s = o.steps[id]
	delete(o.steps, id)
	o.mu.Unlock()
	if s == nil {
		return nil, nil
	}
	return s, errors.Join(o.report(id), o.c.Machine.UnmaskInterrupts(id, s.before))
}

// stepped is the end of a step, on the vCPU's thread.
func (o *Owner) stepped(id int) error {
	s, err := o.unstep(id)
	if s != nil {
		s.done()
	}
	return err
}

// Step carries out one instruction of a vCPU, as if there were no breakpoints, for a caller who has paused the guest; all others stand
// still. Interrupts are kept away. Whoever watches what it accesses is told. interrupted is asked after each Kick of the
// vCPU: the step of an instruction that waits, as HLT and WFI do, ends with ErrInterrupted when it says so.
func (o *Owner) Step(id int, interrupted func() bool) error {
	return o.c.Machine.OnCPU(id, func() error { return o.stepHere(id, interrupted) })
}

// stepHere is Step on the vCPU's own thread, while all others stand still.
func (o *Owner) stepHere(id int, interrupted func() bool) (err error) {
	m := o.c.Machine
	o.mu.Lock()
	lifted := make([]*patch, 0, len(o.soft))
	for _, p := range o.soft {
		lifted = append(lifted, p)
		err = errors.Join(err, o.c.Memory.Poke(p.gpa, p.saved))
	}
	o.mu.Unlock()
	defer func() {
		for _, p := range lifted {
			err = errors.Join(err, o.c.Memory.Poke(p.gpa, softwareBreakpoint))
		}
	}()
	if err != nil {
		return err
	}
	r, err := m.Registers(id)
	if err != nil {
		return err
	}
	// The debug registers are off meanwhile.
	env := o.c.Environment
	env.Code = func(gva uint64, n int) []byte { return o.c.Memory.ReadVirtual(r, gva, n) }
	in := decodeStore(env.Code(r.PC(), instructionLength), r, &env)
	tell := o.watchers(id, r, &in)

	traced, err := o.carry(id, r, interrupted)
	switch {
	case err != nil:
		return err
	case traced:
		err = o.engine.Carry(id) // which tells whoever is to be told
	case tell != nil:
		tell()
	}
	o.mu.Lock()
	delete(o.told, id)
	o.mu.Unlock()
	return err
}

// carry runs the vCPU for one instruction. traced: it touches a page that is watched, and was not carried out.
func (o *Owner) carry(id int, r *Registers, interrupted func() bool) (traced bool, err error) {
	m := o.c.Machine
	if err := m.MaskInterrupts(id, r); err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, m.UnmaskInterrupts(id, r), o.report(id)) }()
	if err := m.SetGuestDebug(id, &GuestDebug{Step: true, BlockInterrupts: o.c.CanBlock}); err != nil {
		return false, err
	}
	var x kvm.Exit
	for {
		err := m.Enter(id, &x)
		o.exits.Add(1)
		switch {
		case errors.Is(err, kvm.ErrKicked):
			// It may be the one that made the vCPU stand still in the first place.
			if m.Stopped() || interrupted() {
				return false, ErrInterrupted
			}
			continue
		case errors.Is(err, kvm.ErrInterrupted):
			continue
		case errors.Is(err, unix.EFAULT):
			return true, nil
		case err != nil:
			return false, fmt.Errorf("step: KVM_RUN: %w", err)
		case x.Reason == kvm.ReasonDebug:
			return false, nil
		}
		if err := m.Serve(id, &x); err != nil {
			return false, fmt.Errorf("step: %s: %w", &x, err)
		}
		if m.Stopped() || m.Complete(id) { // KVM completes the instruction without another one
			return false, nil
		}
	}
}
