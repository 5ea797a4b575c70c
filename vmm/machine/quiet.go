package machine

// Quiet runs f, for a device on the thread of a vCPU, while no vCPU is in the guest: each stands still, or is on its thread
// in an exit as the caller is. So f may close pages (Memory.Protect) and be sure that nobody uses an older translation: in a KVM
// host that is emulated by QEMU, a vCPU that is in the guest meanwhile goes on using it. f must not wait for the guest.
// ErrStopped: f did not run, the machine has stopped.
func (m *Machine) Quiet(f func() error) error {
	p := &m.pausing
	p.mu.Lock()
	p.holds++
	p.quiet++
	p.active.Store(true)
	p.changed.Broadcast()
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		p.holds--
		p.quiet--
		p.settle()
		p.mu.Unlock()
	}()
	m.kickOthers(nil)
	p.mu.Lock()
	for !p.stopped && m.inGuest() > p.quiet {
		p.changed.Wait()
	}
	stopped := p.stopped
	p.mu.Unlock()
	if stopped {
		return ErrStopped
	}
	return f()
}

// inGuest is how many vCPUs may be in the guest or are in Quiet. One that wants an exclusive section has not begun it as long as a caller
// of Quiet, whom it waits for, does not stand still. With mu held.
func (m *Machine) inGuest() (n int) {
	for _, c := range m.cpus {
		if !c.still && c != m.pausing.owner {
			n++
		}
	}
	return n
}
