package machine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Pausing. A vCPU stands still when its thread is outside KVM_RUN, with the register effects of its last
// exit final, and waits in park. Three things make vCPUs stand still, in any combination:
//
//   - Hold and Pause, from any goroutine, any number at a time: the vCPUs go on when the last is released.
//   - an exclusive section (Exclusive), on a vCPU's own thread: all the others stand still while it
//     runs. It waits for holds to end, and holds wait for it.
//   - onThread, for the holder of a Pause: one function on the thread of a vCPU that stands still.
//
// Devices go on meanwhile: what they write to guest memory is seen by Memory.Observe.
//
// A request to stand still is never lost: it is published before the vCPU is kicked, a kick makes the
// next KVM_RUN return if none is under way, and that return leads to park.
type pausing struct {
	// active: there is a reason to look at the rest. Read by the vCPU threads before they enter the guest.
	active atomic.Bool

	mu      sync.Mutex
	changed *sync.Cond // anything below, or in cpu.still and cpu.request, has changed
	holds   int
	quiet   int  // threads in Quiet
	owner   *cpu // in an exclusive section, or about to be
	busy    bool // a request is under way
	stopped bool
	closed  bool
}

// Errors of pausing.
var (
	// ErrRunning: the vCPU does not stand still; Pause first.
	ErrRunning = errors.New("the vCPU is running")
	// ErrStopped: the machine has stopped, so that no vCPU runs any more.
	ErrStopped = errors.New("the machine has stopped")
	// ErrClosed: the machine is gone.
	ErrClosed = errors.New("the machine is closed")
	// ErrStuck: a vCPU did not stand still in time.
	ErrStuck = errors.New("the vCPU did not stand still")
)

// pauseTime is how long a vCPU may take to come out of the guest, which takes microseconds
// unless the host is overloaded or a device is stuck.
const pauseTime = 30 * time.Second

// Hold makes all vCPUs stand still soon, without waiting for it: callable on any thread, a vCPU's own
// included. release undoes it; further calls of release do nothing.
func (m *Machine) Hold() (release func()) {
	p := &m.pausing
	p.mu.Lock()
	p.holds++
	p.active.Store(true)
	p.mu.Unlock()
	m.kickOthers(nil)
	return sync.OnceFunc(func() {
		p.mu.Lock()
		p.holds--
		p.settle()
		p.mu.Unlock()
	})
}

// Pause makes all vCPUs stand still and returns once they do: their registers and guest memory can then be
// read and written until release. It ends early with ctx, and fails with ErrStuck after half a minute. Before
// Run and after it the vCPUs stand still anyway. Pauses nest, in any order of release. Not on a vCPU's
// thread, which could only wait for itself: an engine or a sink there uses Hold.
func (m *Machine) Pause(ctx context.Context) (release func(), err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, pauseTime, ErrStuck)
	defer cancel()
	release = m.Hold()
	p := &m.pausing
	wake := context.AfterFunc(ctx, p.broadcast)
	defer wake()
	var running *cpu
	p.mu.Lock()
	for !p.closed {
		if running = m.anyRunning(nil); running == nil || ctx.Err() != nil {
			break
		}
		p.changed.Wait()
	}
	closed := p.closed
	p.mu.Unlock()
	switch {
	case closed:
		err = ErrClosed
	case running != nil:
		err = fmt.Errorf("pause: vCPU %d: %w", running.v.ID, context.Cause(ctx))
	default:
		return release, nil
	}
	release()
	return nil, err
}

// Paused says whether all vCPUs stand still because of a Hold or Pause.
func (m *Machine) Paused() bool {
	p := &m.pausing
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.holds > 0 && !p.closed && m.anyRunning(nil) == nil
}

func (p *pausing) broadcast() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.changed.Broadcast()
}

// settle is due after holds or owner have changed, with mu held.
func (p *pausing) settle() {
	p.active.Store(p.holds > 0 || p.owner != nil)
	p.changed.Broadcast()
}

// anyRunning is a vCPU other than c that does not stand still, nil if all do. With mu held.
func (m *Machine) anyRunning(c *cpu) *cpu {
	for _, o := range m.cpus {
		if o != c && !o.still {
			return o
		}
	}
	return nil
}

// kickOthers takes all vCPUs but c that do not stand still out of the guest. Without mu: a vCPU that begins to run
// after the look has seen what made us kick.
func (m *Machine) kickOthers(c *cpu) {
	p := &m.pausing
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	for _, o := range m.cpus {
		if o != c && !o.still {
			o.v.Kick()
		}
	}
}

// begin lets the vCPU run as soon as nothing speaks against it. On its thread, with no exit unfinished.
// It answers false when the machine has stopped.
func (c *cpu) begin() bool {
	p := &c.m.pausing
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.stopped && (p.holds > 0 || p.owner != nil) {
		c.standStill()
	}
	c.leave()
	return !p.stopped
}

// leave ends standing still once whoever is at the registers has finished: a read of them would wait for
// the end of KVM_RUN. With mu held.
func (c *cpu) leave() {
	c.access.Lock()
	c.still = false
	c.access.Unlock()
}

// standStill waits for a change, and does what the holder of a Pause asks for. On the vCPU's thread, with mu held.
func (c *cpu) standStill() {
	p := &c.m.pausing
	if !c.still {
		c.still = true
		p.changed.Broadcast()
	}
	r := c.request
	if r == nil {
		p.changed.Wait()
		return
	}
	c.serving = true
	c.leave()
	p.mu.Unlock()
	err := r.do()
	p.mu.Lock()
	c.serving, c.still, c.request = false, true, nil
	r.err, r.done, p.busy = err, true, false
	p.changed.Broadcast()
}

// end says that the thread will not run the vCPU any more.
func (c *cpu) end() {
	p := &c.m.pausing
	p.mu.Lock()
	defer p.mu.Unlock()
	c.still = true
	if r := c.request; r != nil {
		r.err, r.done, c.request, p.busy = ErrStopped, true, nil, false
	}
	c.ended = true
	p.changed.Broadcast()
}

// ErrAgain: the exclusive section did not take place, as somebody else may have changed the vCPU
// meanwhile; enter the guest again and see.
var ErrAgain = errors.New("the vCPU was held meanwhile")

// exclusive runs f while all other vCPUs stand still. On c's thread, outside other locks, with the last exit's
// effects final or about to be repeated. f may Hold the machine but not Pause it.
func (c *cpu) exclusive(f func() error) error {
	p := &c.m.pausing
	if c.serving {
		return f() // on behalf of somebody who has paused the machine
	}
	p.mu.Lock()
	held := false
	for !p.stopped && (p.holds > 0 || p.owner != nil) {
		held = held || p.holds > 0
		c.standStill()
	}
	if held || p.stopped {
		err := ErrAgain
		if p.stopped {
			err = ErrStopped
		}
		c.leave()
		p.mu.Unlock()
		return err
	}
	p.owner = c
	c.leave()
	p.active.Store(true)
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		p.owner = nil
		p.settle()
		p.mu.Unlock()
	}()
	c.m.kickOthers(c)
	p.mu.Lock()
	for !p.stopped && c.m.anyRunning(c) != nil {
		p.changed.Wait()
	}
	stopped := p.stopped
	p.mu.Unlock()
	if stopped {
		return ErrStopped
	}
	return f()
}

// request is a function that a vCPU's thread runs for the holder of a Pause.
type request struct {
	do   func() error
	err  error
	done bool
}

// onThread runs f on the thread of a vCPU that stands still, for a caller who holds a Pause, and returns when f
// has. One at a time, so that all other vCPUs stand still. f enters the guest at most for as long as the caller
// can wait; a kick, by who wants the machine to stop or to stand still, ends that.
func (m *Machine) onThread(c *cpu, f func() error) error {
	p := &m.pausing
	r := &request{do: f}
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.busy && !p.stopped {
		p.changed.Wait() // another holder's
	}
	switch {
	case p.closed:
		return ErrClosed
	case p.stopped || c.ended || !m.running:
		return ErrStopped
	case p.holds == 0 || m.anyRunning(nil) != nil:
		return ErrRunning
	}
	c.request, p.busy = r, true
	p.changed.Broadcast()
	for !r.done {
		p.changed.Wait()
	}
	return r.err
}

// cpu is vCPU number id, locked against its use by others until unlock, if it stands still or is with the
// tracer.
func (m *Machine) still(id int) (c *cpu, unlock func(), err error) {
	p := &m.pausing
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return nil, nil, ErrClosed
	case id < 0 || id >= len(m.cpus):
		return nil, nil, fmt.Errorf("vCPU %d: the machine has %d", id, len(m.cpus))
	}
	c = m.cpus[id]
	if !c.still && p.owner != c && !c.serving && !c.tracing {
		return nil, nil, fmt.Errorf("vCPU %d: %w", id, ErrRunning)
	}
	c.access.Lock()
	return c, c.access.Unlock, nil
}

// CPUs is how many vCPUs the machine has.
func (m *Machine) CPUs() int { return m.cfg.CPUs }

// Registers reads the state of a vCPU that stands still; ErrRunning if it does not.
func (m *Machine) Registers(id int) (*Registers, error) {
	c, unlock, err := m.still(id)
	if err != nil {
		return nil, err
	}
	defer unlock()
	return c.v.Registers()
}

// SetRegisters changes the state of a vCPU that stands still to r. What Registers only reports (arm64: ID and status
// registers of the host) stays as it is.
func (m *Machine) SetRegisters(id int, r *Registers) error {
	c, unlock, err := m.still(id)
	if err != nil {
		return err
	}
	defer unlock()
	return c.v.SetRegisters(r)
}
