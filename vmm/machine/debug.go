package machine

// Tracer is who was last given to Trace, nil for nobody.
func (m *Machine) Tracer() Tracer { return m.tracer }

// Started is closed when the vCPUs have the state of the kernel's entry.
func (m *Machine) Started() <-chan struct{} { return m.started }

// Complete finishes the last exit of vCPU id if KVM would do so at the next run (device registers), and carries out nothing else. It
// answers false if there was nothing to finish. On the vCPU's own thread, behind Serve.
func (m *Machine) Complete(id int) bool {
	c := m.cpus[id]
	if !c.pending {
		return false
	}
	c.v.CompleteIO()
	c.pending = false
	return true
}
