package guest

import (
	"errors"
	"fmt"
	"slices"

	"ringo/debug/gdb"
	"ringo/virtio/queue"
	"ringo/vmm/machine"
)

// debuggerSource labels what a debugger writes to guest memory.
var debuggerSource = queue.NoQueue("debugger")

// as is the vCPU whose address space a thread's addresses are in: a sleeping task's kernel stack is in everybody's.
func (d *debugger) as(t gdb.ThreadID) (*machine.Registers, error) {
	cpu := t - 1
	if t >= gdb.TaskThread {
		cpu = 0
	}
	s, err := d.state(cpu)
	if err != nil {
		return nil, err
	}
	return s.registerState.Registers, nil
}

// ReadMemory shows memory without the breakpoints in it.
func (d *debugger) ReadMemory(t gdb.ThreadID, gva uint64, p []byte) int {
	r, err := d.as(t)
	if err != nil {
		return 0
	}
	n := copy(p, d.m.Memory().ReadVirtual(r, gva, len(p)))
	for at, b := range d.points {
		for i, c := range b.saved {
			if off := at.Addr + uint64(i) - gva; at.Addr+uint64(i) >= gva && off < uint64(n) {
				p[off] = c
			}
		}
	}
	return n
}

// WriteMemory writes under the breakpoints.
func (d *debugger) WriteMemory(t gdb.ThreadID, gva uint64, p []byte) error {
	r, err := d.as(t)
	if err != nil {
		return err
	}
	var lifted []gdb.Point
	for at, b := range d.points {
		if at.Addr < gva+uint64(len(p)) && gva < at.Addr+uint64(len(b.saved)) {
			lifted = append(lifted, at)
		}
	}
	for _, at := range lifted {
		if err := d.Remove(at); err != nil {
			return err
		}
	}
	err = d.write(r, gva, p)
	for _, at := range lifted {
		err = errors.Join(err, d.Insert(at))
	}
	return err
}

// write writes through the page tables in force in r, all or nothing.
func (d *debugger) write(r *machine.Registers, gva uint64, p []byte) error {
	type part struct {
		gpa uint64
		p   []byte
	}
	var parts []part
	for len(p) > 0 {
		gpa, ok := d.m.Memory().Translate(r, gva)
		n := min(uint64(len(p)), 0x1000-gva&0xfff)
		if !ok || d.m.Memory().Check(gpa, n) != nil {
			return fmt.Errorf("no memory at %#x", gva)
		}
		parts = append(parts, part{gpa, p[:n]})
		p, gva = p[n:], gva+n
	}
	for _, w := range parts {
		if err := d.m.Memory().WriteAt(w.gpa, w.p, debuggerSource); err != nil {
			return err
		}
	}
	return nil
}

// Insert implements gdb.Target.
func (d *debugger) Insert(p gdb.Point) error {
	if d.points[p] != nil {
		return nil
	}
	i := &inserted{}
	// A debug register does what a breakpoint instruction does, and does not change the guest. Some emulated hosts only
	// offer that: QEMU's SVM does not tell KVM of the guest's int3.
	if i.hardware = p.Kind == gdb.SoftwareBreak && d.free() > 0; p.Kind == gdb.SoftwareBreak && !i.hardware {
		r, err := d.as(1)
		if err != nil {
			return err
		}
		i.saved = make([]byte, len(softwareBreakpoint))
		if d.ReadMemory(1, p.Addr, i.saved) != len(i.saved) {
			return fmt.Errorf("no memory at %#x", p.Addr)
		}
		if err := d.write(r, p.Addr, softwareBreakpoint); err != nil {
			return err
		}
	}
	d.points[p] = i
	if err := d.plan(); err != nil {
		_ = d.Remove(p) // was just inserted
		return err
	}
	return nil
}

// Remove implements gdb.Target.
func (d *debugger) Remove(p gdb.Point) error {
	i := d.points[p]
	if i == nil {
		return nil
	}
	delete(d.points, p)
	var err error
	if len(i.saved) > 0 {
		r, e := d.as(1)
		if err = e; err == nil {
			err = d.write(r, p.Addr, i.saved)
		}
	}
	return errors.Join(err, d.plan())
}

// free is how many breakpoints fit the debug registers beside what is in them.
func (d *debugger) free() int {
	slots := d.m.DebugSlots()
	n := slots.Breakpoints - len(d.armed.Breakpoints)
	if slots.Shared {
		n -= len(d.armed.Watchpoints)
	}
	return n
}

// plan computes from the points what the vCPUs stop at.
func (d *debugger) plan() error {
	var g machine.GuestDebug
	software := map[uint64]int{}
	slots := d.m.DebugSlots()
	for p, i := range d.points {
		switch {
		case p.Kind == gdb.HardwareBreak || i.hardware:
			if !slices.Contains(g.Breakpoints, p.Addr) {
				g.Breakpoints = append(g.Breakpoints, p.Addr)
			}
		case p.Kind == gdb.SoftwareBreak:
			software[p.Addr]++
			g.Software = true
		default:
			if p.Len == 0 || p.Len > 8*uint64(slots.Watchpoints) {
				return fmt.Errorf("%w: %d bytes with %d debug registers of 8", gdb.ErrUnsupported, p.Len, slots.Watchpoints)
			}
			pieces := splitWatch(p.Addr, int(p.Len), slots.Watchpoints)
			if pieces == nil {
				return fmt.Errorf("%w: %d bytes at %#x take more than %d debug registers", gdb.ErrUnsupported, p.Len, p.Addr, slots.Watchpoints)
			}
			for _, w := range pieces {
				w.Write, w.Read = p.Kind != gdb.ReadWatch, p.Kind != gdb.WriteWatch
				g.Watchpoints = append(g.Watchpoints, w)
			}
		}
	}
	total := len(g.Breakpoints) + len(g.Watchpoints)
	if len(g.Breakpoints) > slots.Breakpoints || len(g.Watchpoints) > slots.Watchpoints || slots.Shared && total > slots.Watchpoints {
		return fmt.Errorf("%d hardware breakpoints and %d watchpoints: this host's vCPUs have %d and %d registers", len(g.Breakpoints), len(g.Watchpoints), slots.Breakpoints, slots.Watchpoints)
	}
	d.armed = g
	d.mu.Lock()
	defer d.mu.Unlock()
	d.software = software
	return nil
}
