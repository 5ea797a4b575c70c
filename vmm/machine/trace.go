package machine

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"ringo/internal/kvm"
	"ringo/internal/store"
)

// Tracer takes the exits that are the debugger's. Its methods run on the vCPU's thread, outside KVM_RUN, while
// other vCPUs run; ErrAgain and ErrStopped of Exclusive may be returned as they are.
type Tracer interface {
	// Fault: the guest touched a page that Protect has closed. The instruction has not been carried out.
	Fault(id int) (handled bool, err error)
	// Debug: KVM_EXIT_DEBUG.
	Debug(id int, x *kvm.Exit) (handled bool, err error)
	// Emulated: KVM interpreted an instruction that writes x.Data to RAM at x.Addr, in a closed page, and
	// cannot do it itself.
	Emulated(id int, x *kvm.Exit) error
}

// Trace installs t. Before Run.
func (m *Machine) Trace(t Tracer) { m.tracer = t }

func (c *cpu) traced(f func(Tracer) (bool, error)) (bool, error) {
	if c.m.tracer == nil {
		return false, nil
	}
	c.withTracer(true)
	handled, err := f(c.m.tracer)
	c.withTracer(false)
	if errors.Is(err, ErrAgain) || errors.Is(err, ErrStopped) {
		return true, nil
	}
	return handled, err
}

// withTracer says that the vCPU stays out of the guest but for what the tracer does, so that its registers may be used.
func (c *cpu) withTracer(on bool) {
	p := &c.m.pausing
	p.mu.Lock()
	defer p.mu.Unlock()
	if !on {
		c.access.Lock() // whoever is at the registers
		defer c.access.Unlock()
	}
	c.tracing = on
}

// emulated serves an access by KVM's emulator to RAM that its mapping does not allow.
func (c *cpu) emulated(x *kvm.Exit) error {
	if !x.Write {
		c.m.mem.Peek(x.Addr, x.Data)
		return nil
	}
	if c.m.tracer != nil {
		_, err := c.traced(func(t Tracer) (bool, error) { return true, t.Emulated(c.v.ID, x) })
		return err
	}
	return c.m.mem.Poke(x.Addr, x.Data)
}

// Exclusive runs f on the thread of vCPU id, which the caller is on, while all others stand still. ErrAgain: f did not
// run, as somebody held the machine meanwhile; enter the guest again. ErrStopped: f did not run, the machine
// has stopped. f may Hold the machine but not Pause it.
func (m *Machine) Exclusive(id int, f func() error) error { return m.cpus[id].exclusive(f) }

// OnCPU runs f on the thread of vCPU id, for a caller that has paused the machine; f may use what belongs to that
// thread. Only one such f runs at a time.
func (m *Machine) OnCPU(id int, f func() error) error {
	if id < 0 || id >= m.cfg.CPUs {
		return fmt.Errorf("vCPU %d: the machine has %d", id, m.cfg.CPUs)
	}
	m.pausing.mu.Lock()
	if m.pausing.closed {
		m.pausing.mu.Unlock()
		return ErrClosed
	}
	c := m.cpus[id]
	m.pausing.mu.Unlock()
	return m.onThread(c, f)
}

// Enter is one KVM_RUN of vCPU id on its own thread, in an Exclusive section or in OnCPU. Errors are those of kvm.VCPU.Run:
// ErrInterrupted, ErrKicked, EFAULT...
func (m *Machine) Enter(id int, x *kvm.Exit) error {
	c := m.cpus[id]
	err := c.enter(x)
	if err == nil {
		c.history.add(m.start, x)
	}
	return err
}

// Serve does what the monitor does about an exit (device registers, power off), on the vCPU's own thread.
func (m *Machine) Serve(id int, x *kvm.Exit) error { return m.cpus[id].handle(x) }

// Kick makes a KVM_RUN of vCPU id that is under way, or its next, return ErrKicked.
func (m *Machine) Kick(id int) {
	m.pausing.mu.Lock()
	defer m.pausing.mu.Unlock()
	if !m.pausing.closed {
		m.cpus[id].v.Kick()
	}
}

// Stopped says whether the machine has stopped or is about to.
func (m *Machine) Stopped() bool { return m.isStopped() }

// End stops the machine for the debugger: Run returns StopTraced. Any goroutine.
func (m *Machine) End() { m.halt(Stop{Kind: StopTraced}) }

// PageAccess is what the guest may do with a page.
type PageAccess int

// Accesses.
const (
	ReadWrite PageAccess = iota
	ReadOnly             // a store ends in Tracer.Fault
	NoAccess             // so does any access
)

// Protect changes what the guest may do with whole pages of RAM. Callable at any time; when it returns, no vCPU
// uses an older translation. The monitor's own view is not affected.
func (m *Memory) Protect(gpa, size uint64, a PageAccess) error {
	if (gpa|size)%pageSize != 0 {
		return fmt.Errorf("protect GPA %#x, %#x bytes: not whole pages", gpa, size)
	}
	if _, err := m.bytes(gpa, size); err != nil || size == 0 {
		return err
	}
	if a != ReadWrite && m.sharing.on.Load() {
		if err := m.own(); err != nil { // which would map over the protection later
			return err
		}
	}
	prot := map[PageAccess]int{ReadWrite: unix.PROT_READ | unix.PROT_WRITE, ReadOnly: unix.PROT_READ, NoAccess: unix.PROT_NONE}[a]
	if err := m.slotOf(gpa).protect(gpa, size, prot); err != nil {
		return fmt.Errorf("protect guest RAM at GPA %#x, %#x bytes: %w", gpa, size, err)
	}
	return nil
}

// SetGuestDebug replaces what a vCPU that stands still, or is with its Tracer, reports. The same goes for the methods
// below.
func (m *Machine) SetGuestDebug(id int, d *GuestDebug) error {
	c, unlock, err := m.still(id)
	if err != nil {
		return err
	}
	defer unlock()
	return c.v.SetGuestDebug(d)
}

// InjectDebug gives the guest the exception of a debug exit that nobody in the monitor asked for.
func (m *Machine) InjectDebug(id int, x *kvm.Exit, d *GuestDebug) error {
	c, unlock, err := m.still(id)
	if err != nil {
		return err
	}
	defer unlock()
	return c.v.InjectDebug(x, d)
}

// RaiseAlarm makes a vCPU take vcpu.Alarm when it goes on.
func (m *Machine) RaiseAlarm(id int) error {
	c, unlock, err := m.still(id)
	if err != nil {
		return err
	}
	defer unlock()
	return c.v.RaiseAlarm()
}

// Delivering is the exception or interrupt whose delivery is not complete.
func (m *Machine) Delivering(id int) (Event, bool, error) {
	c, unlock, err := m.still(id)
	if err != nil {
		return Event{}, false, err
	}
	defer unlock()
	return c.v.Delivering()
}

// MaskInterrupts keeps interrupts from a vCPU that stands still where GuestDebug.BlockInterrupts does not, and
// UnmaskInterrupts undoes it; r are the registers before.
func (m *Machine) MaskInterrupts(id int, r *Registers) error {
	c, unlock, err := m.still(id)
	if err != nil {
		return err
	}
	defer unlock()
	return c.v.MaskInterrupts(r)
}

// UnmaskInterrupts undoes MaskInterrupts.
func (m *Machine) UnmaskInterrupts(id int, r *Registers) error {
	c, unlock, err := m.still(id)
	if err != nil {
		return err
	}
	defer unlock()
	return c.v.UnmaskInterrupts(r)
}

// Settled, AtInstruction, Carried and VectorRegister are for instructions that the monitor carries out in the place of a vCPU that is with its Tracer; see
// arch/*/vcpu.
func (m *Machine) Settled(id int) (bool, error) {
	c, unlock, err := m.still(id)
	if err != nil {
		return false, err
	}
	defer unlock()
	return c.v.Settled()
}

// AtInstruction reads the registers that matter for the instruction at PC.
func (m *Machine) AtInstruction(id int, fetch func(r *Registers) []byte) (*Registers, error) {
	c, unlock, err := m.still(id)
	if err != nil {
		return nil, err
	}
	defer unlock()
	return c.v.AtInstruction(fetch)
}

// Carried gives the vCPU the state behind the instruction.
func (m *Machine) Carried(id int, before, after *Registers) error {
	c, unlock, err := m.still(id)
	if err != nil {
		return err
	}
	defer unlock()
	return c.v.Carried(before, after)
}

// VectorRegister reads one of its vector registers.
func (m *Machine) VectorRegister(id, n int) (x [16]byte, err error) {
	c, unlock, err := m.still(id)
	if err != nil {
		return x, err
	}
	defer unlock()
	return c.v.VectorRegister(n)
}

// DebugSlots is how many hardware breakpoints and watchpoints a vCPU has.
func (m *Machine) DebugSlots() DebugSlots { return m.vm.DebugSlots() }

// StoreEnvironment is what the decoder of accesses needs to know of the vCPUs.
func (m *Machine) StoreEnvironment() store.Environment { return m.vm.StoreEnvironment() }

// CanBlockInterrupts says whether GuestDebug.BlockInterrupts, or MaskInterrupts, works.
func (m *Machine) CanBlockInterrupts() bool { return m.vm.CanBlockInterrupts() }
