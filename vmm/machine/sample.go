package machine

import "fmt"

// Sample takes vCPU id out of the guest and calls f with its registers, once, on its thread, before it goes on. A vCPU that stands still is sampled when
// it goes on; a sample that was asked for before and has not been taken is forgotten. f may read guest memory; it must neither Pause nor wait. Any goroutine.
func (m *Machine) Sample(id int, f func(*Registers)) error {
	p := &m.pausing
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return ErrClosed
	case p.stopped:
		return ErrStopped
	case id < 0 || id >= len(m.cpus):
		return fmt.Errorf("vCPU %d: the machine has %d", id, len(m.cpus))
	}
	c := m.cpus[id]
	c.sample.Store(&f)
	if !c.still {
		c.v.Kick()
	}
	return nil
}

// sampled serves Sample. On the vCPU's thread, out of KVM_RUN.
func (c *cpu) sampled() {
	f := c.sample.Swap(nil)
	if f == nil {
		return
	}
	if r, err := c.v.Registers(); err == nil {
		(*f)(r)
	}
}
