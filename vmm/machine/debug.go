package machine

import (
	"errors"
	"fmt"

	"ringo/internal/kvm"
)

// Tracer is who was last given to Trace, nil for nobody.
func (m *Machine) Tracer() Tracer { return m.tracer }

// Started is closed when the vCPUs have the state of the kernel's entry.
func (m *Machine) Started() <-chan struct{} { return m.started }

// StepAlone executes one instruction of a vCPU while all others stand still, with interrupts kept away; then the vCPU reports
// what after says. The caller holds a Pause. An instruction that waits, as HLT and WFI do, is given up when interrupted, which is asked
// after each Kick, says so.
func (m *Machine) StepAlone(id int, after *GuestDebug, interrupted func() bool) error {
	return m.OnCPU(id, func() error {
		c := m.cpus[id]
		before, err := c.v.Registers()
		if err == nil {
			err = c.v.MaskInterrupts(before)
		}
		if err != nil {
			return err
		}
		d := GuestDebug{Step: true, BlockInterrupts: m.vm.CanBlockInterrupts()}
		if err = c.v.SetGuestDebug(&d); err == nil {
			err = c.untilStepped(interrupted)
		}
		return errors.Join(err, c.v.UnmaskInterrupts(before), c.v.SetGuestDebug(after))
	})
}

func (c *cpu) untilStepped(interrupted func() bool) error {
	x := new(kvm.Exit)
	for {
		err := c.enter(x)
		switch {
		case errors.Is(err, kvm.ErrKicked):
			switch {
			case c.m.isStopped():
				return ErrStopped
			case interrupted():
				return nil
			}
			continue // a kick that made the vCPU stand still in the first place
		case errors.Is(err, kvm.ErrInterrupted):
			continue
		case err != nil:
			return fmt.Errorf("step: %w", explainErrno(err))
		}
		if x.Reason == kvm.ReasonDebug {
			return nil
		}
		if err := c.handle(x); err != nil {
			return fmt.Errorf("step: %s: %w", x, err)
		}
		if c.pending { // KVM completes the instruction at the next entry: no more than that
			c.v.CompleteIO()
			c.pending = false
			return nil
		}
	}
}
