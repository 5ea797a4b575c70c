// Package tracing joins a machine and the debugger's engines, which know no machine.
package tracing

import (
	"ringo/debug/hit"
	"ringo/debug/pagetrace"
	"ringo/debug/watch"
	"ringo/internal/pagetable"
	"ringo/vmm/machine"
)

// Options of New.
type Options struct {
	// Probe, FunctionStart, Walk and Ended are as in watch.Config.
	Probe         func() (pages, registers error)
	FunctionStart func(pc uint64) (start uint64, ok bool)
	Walk          func(gva uint64) pagetable.Walk
	Ended         func(w *hit.Write)

	mutate   func(watch.Machine) watch.Machine // for tests that break it
	stepOnly bool                              // for tests of steps
}

// New makes the owner of m's debug state and lets it see everything. Before m runs.
func New(m *machine.Machine, o Options) *watch.Owner {
	mem := m.Memory()
	pages := map[pagetrace.Page]machine.PageAccess{
		pagetrace.Open: machine.ReadWrite, pagetrace.ClosedToWr: machine.ReadOnly, pagetrace.Closed: machine.NoAccess,
	}
	var target watch.Machine = m
	if o.mutate != nil {
		target = o.mutate(m)
	}
	owner := watch.New(watch.Config{
		Machine: target, Memory: mem,
		Protect:     func(gpa, size uint64, p pagetrace.Page) error { return mem.Protect(gpa, size, pages[p]) },
		Environment: m.StoreEnvironment(), Probe: o.Probe, CanBlock: m.CanBlockInterrupts(),
		FunctionStart: o.FunctionStart, Walk: o.Walk, Ended: o.Ended, StepOnly: o.stepOnly,
	})
	m.Trace(owner)
	mem.Observe(func(a machine.Access) { owner.Device(a.GPA, a.Size, a.Write, a.Data, a.Source.String()) })
	return owner
}
