package machine

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"ringo/internal/kvm"
)

// StopKind says why a machine stopped.
type StopKind int

// Kinds of Stop.
const (
	// StopPowerOff: the guest powered off normally.
	StopPowerOff StopKind = 1 + iota
	// StopPanic: the guest powered off after a kernel panic.
	StopPanic
	// StopCancelled: the context of Run ended.
	StopCancelled
	// StopFatal: a vCPU cannot go on; Fatal says why.
	StopFatal
	// StopTraced: the debugger ended it.
	StopTraced
)

// Stop is how a machine's run ended.
type Stop struct {
	Kind  StopKind
	Code  uint64     // StopPanic: the power-off code
	Fatal *FatalExit // StopFatal
}

// cpu is one vCPU with its thread.
type cpu struct {
	m       *Machine
	v       *archVCPU
	history history
	retried bool // see mayWrite
	pending bool // the effects of the last exit are not final until the next KVM_RUN

	sample atomic.Pointer[func(*Registers)] // see Machine.Sample

	access sync.Mutex // who reads or writes registers of a vCPU that stands still

	// Guarded by Machine.pausing.mu.
	still   bool     // the thread stands still, has not begun or has ended
	ended   bool     // it will not run again
	request *request // for standStill
	serving bool     // written by the thread only: in request.do
	tracing bool     // likewise: in the Tracer
}

// Run starts all vCPUs at e and returns when the machine has stopped: by the guest, by a
// vCPU that cannot go on, or by ctx. No vCPU thread is left then. It can be called once.
func (m *Machine) Run(ctx context.Context, e Entry) (Stop, error) {
	m.pausing.mu.Lock()
	again := m.running
	m.running = true
	m.pausing.mu.Unlock()
	if again {
		return Stop{}, errors.New("machine was run before")
	}
	m.early = e.Early
	for _, c := range m.cpus {
		if err := c.v.SetEntry(e.PC, e.Root, e.Arg, uint64(c.v.ID), e.Early); err != nil {
			return Stop{}, err
		}
	}
	m.start = time.Now()
	close(m.started)
	var wg sync.WaitGroup
	for _, c := range m.cpus {
		wg.Go(c.loop)
	}
	select {
	case <-ctx.Done():
		m.halt(Stop{Kind: StopCancelled})
	case <-m.stopped:
	}
	wg.Wait()
	if m.stop.Fatal != nil {
		m.stop.Fatal.complete(m)
	}
	return m.stop, nil
}

// halt ends the run; only the first call decides how. Any goroutine.
func (m *Machine) halt(s Stop) {
	m.stopOnce.Do(func() {
		m.stop = s
		close(m.stopped)
		m.pausing.mu.Lock()
		m.pausing.stopped = true
		m.pausing.changed.Broadcast()
		m.pausing.mu.Unlock()
		for _, c := range m.cpus {
			c.v.Kick()
		}
	})
}

// PowerOff stops the machine from outside as if the guest had powered off, for a monitor
// that has all it wants. Callable from any goroutine while Run is under way.
func (m *Machine) PowerOff() { m.halt(Stop{Kind: StopPowerOff}) }

func (m *Machine) isStopped() bool {
	select {
	case <-m.stopped:
		return true
	default:
		return false
	}
}

// loop is the vCPU's thread.
func (c *cpu) loop() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer c.v.Bind()()
	x := new(kvm.Exit)
	// The monitor's own mistake ends in a report about the guest that led to it.
	defer func() {
		if r := recover(); r != nil {
			c.fatal(x, fmt.Errorf("panic in the monitor: %v\n%s", r, debug.Stack()))
		}
	}()
	defer c.end()
	if !c.begin() {
		return
	}
	for !c.m.isStopped() {
		if c.m.pausing.active.Load() {
			if !c.pending {
				c.begin()
				continue
			}
			c.v.Kick() // the next run only completes the exit
		}
		err := c.enter(x)
		switch {
		case errors.Is(err, kvm.ErrInterrupted), errors.Is(err, kvm.ErrKicked):
			c.sampled()
			continue
		case errors.Is(err, unix.EFAULT) && c.fault():
			continue
		case err != nil:
			c.fatal(x, fmt.Errorf("KVM_RUN: %w", explainErrno(err)))
			return
		}
		c.history.add(c.m.start, x)
		if err := c.handle(x); err != nil {
			c.fatal(x, err)
			return
		}
	}
}

// enter is one KVM_RUN.
func (c *cpu) enter(x *kvm.Exit) error {
	err := c.v.Run(x)
	c.pending = err == nil && (x.Reason == kvm.ReasonMMIO || x.Reason == kvm.ReasonIO)
	return err
}

// fault says whether KVM_RUN can go on after EFAULT: the guest touched a protected page, or shared RAM.
func (c *cpu) fault() bool {
	handled, err := c.traced(func(t Tracer) (bool, error) { return t.Fault(c.v.ID) })
	if err != nil {
		c.fatal(new(kvm.Exit), fmt.Errorf("page tracing: %w", err))
	}
	return handled || err != nil || c.mayWrite()
}

// mayWrite answers true once if the guest's store may have failed because it went to RAM that
// was shared with a file, and is so no longer.
func (c *cpu) mayWrite() bool {
	if c.retried || !c.m.mem.sharing.ever.Load() {
		return false
	}
	c.retried = true
	return c.m.mem.own() == nil
}

func explainErrno(err error) error {
	if errors.Is(err, unix.EFAULT) {
		return fmt.Errorf("%w: the guest touched memory that the monitor's process may not access", err)
	}
	return err
}

// errUnexpected is an exit the monitor has no answer to.
var errUnexpected = errors.New("unexpected exit")

// errEarly is an exception before the kernel had vectors of its own.
var errEarly = errors.New("early exception")

// handle serves one exit; an error ends the machine.
func (c *cpu) handle(x *kvm.Exit) error {
	switch x.Reason {
	case kvm.ReasonMMIO:
		if earlyPage != 0 && x.Addr&^0xfff == earlyPage {
			return errEarly
		}
		if c.m.mem.Check(x.Addr, uint64(len(x.Data))) == nil {
			return c.emulated(x)
		}
		return c.dispatch(&c.m.mmio, x.Addr, x.Data, x.Write)
	case kvm.ReasonIO:
		if earlyPort != 0 && x.Port == earlyPort {
			return errEarly
		}
		return c.io(x)
	case kvm.ReasonIntr, kvm.ReasonIRQWindow:
		return nil
	case kvm.ReasonSystemEvent:
		switch x.Code {
		case kvm.SystemShutdown:
			c.m.powerOff(0)
			return nil
		case kvm.SystemReset:
			c.m.powerOff(1)
			return nil
		}
	case kvm.ReasonDebug:
		handled, err := c.traced(func(t Tracer) (bool, error) { return t.Debug(c.v.ID, x) })
		if handled || err != nil {
			return err
		}
	case kvm.ReasonUnknown, kvm.ReasonException, kvm.ReasonHypercall, kvm.ReasonHLT,
		kvm.ReasonShutdown, kvm.ReasonFailEntry, kvm.ReasonInternalError:
	}
	return errUnexpected
}

// io serves a port exit: Count elements of Size bytes at the same port.
func (c *cpu) io(x *kvm.Exit) error {
	if x.Size == 0 || len(x.Data) != x.Size*x.Count {
		return fmt.Errorf("port %#x: %d elements of %d bytes do not fit kvm_run", x.Port, x.Count, x.Size)
	}
	for data := x.Data; len(data) > 0; data = data[x.Size:] {
		if err := c.dispatch(&c.m.pio, uint64(x.Port), data[:x.Size], x.Write); err != nil {
			return err
		}
	}
	return nil
}

func (c *cpu) dispatch(b *bus, addr uint64, data []byte, write bool) error {
	err, claimed := b.access(addr, data, write)
	if err != nil {
		return err
	}
	if !claimed && b.unclaimed.Load() > c.m.cfg.UnclaimedLimit {
		return fmt.Errorf("%s %s at %#x where no device is, after %d such accesses", b.kind, verb(write), addr, c.m.cfg.UnclaimedLimit)
	}
	return nil
}

func verb(write bool) string {
	if write {
		return "write"
	}
	return "read"
}

// fatal records why this vCPU cannot go on and stops the machine.
func (c *cpu) fatal(x *kvm.Exit, err error) {
	f := &FatalExit{VCPU: c.v.ID, Err: err, Reason: x.Reason, Summary: x.String(), Code: x.Code, Addr: x.Addr}
	f.Instructions = append(f.Instructions, x.Instructions...)
	if x.Reason == kvm.ReasonDebug {
		f.Summary = describeDebug(x)
	}
	c.m.halt(Stop{Kind: StopFatal, Fatal: f})
}

// Unclaimed is how many accesses went to addresses and ports where no device is.
func (m *Machine) Unclaimed() (mmio, pio uint64) {
	return m.mmio.unclaimed.Load(), m.pio.unclaimed.Load()
}
