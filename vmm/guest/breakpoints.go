package guest

import (
	"fmt"

	"ringo/debug/gdb"
	"ringo/debug/hit"
	"ringo/debug/watch"
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
func (d *debugger) ReadMemory(t gdb.ThreadID, gva uint64, p []byte) (n int) {
	r, err := d.as(t)
	if err != nil {
		return 0
	}
	for n < len(p) {
		gpa, ok := d.m.Memory().Translate(r, gva+uint64(n))
		if !ok {
			break
		}
		part := p[n:min(len(p), n+int(0x1000-(gva+uint64(n))&0xfff))]
		got := d.m.Memory().Peek(gpa, part)
		d.owner.Hide(gpa, part[:got])
		if n += got; got < len(part) {
			break
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
	return d.write(r, gva, p)
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
		if err := d.m.Memory().WriteAt(w.gpa, d.owner.Under(w.gpa, w.p), debuggerSource); err != nil {
			return err
		}
	}
	return nil
}

// Insert implements gdb.Target.
func (d *debugger) Insert(p gdb.Point) error {
	if _, ok := d.points[p]; ok {
		return nil
	}
	hit := func(cpu int) bool {
		d.stand(gdb.Stop{CPU: cpu, Point: &p})
		return false // gdb steps over by itself, or wants to be told again
	}
	switch p.Kind {
	case gdb.SoftwareBreak, gdb.HardwareBreak:
		how := watch.Any
		if p.Kind == gdb.HardwareBreak {
			how = watch.Register
		}
		b, err := d.owner.Break(p.Addr, how, hit)
		if err != nil {
			return err
		}
		d.points[p] = b.ID
	default:
		w, err := d.owner.Add(watch.Request{GVA: p.Addr, Len: p.Len, Reads: p.Kind != gdb.WriteWatch, Sink: &pointSink{d, p}})
		if err != nil {
			return err
		}
		d.points[p] = w.ID
	}
	return nil
}

// Remove implements gdb.Target.
func (d *debugger) Remove(p gdb.Point) error {
	id, ok := d.points[p]
	if !ok {
		return nil
	}
	delete(d.points, p)
	return d.owner.Remove(id)
}

// pointSink takes the accesses to a watchpoint of gdb's.
type pointSink struct {
	d *debugger
	p gdb.Point
}

// Hit implements hit.Sink.
func (s *pointSink) Hit(w *hit.Write) hit.Action {
	switch {
	case w.Source == debuggerSource.String(): // gdb's own
		return hit.Continue
	case s.p.Kind == gdb.ReadWatch && w.Access == hit.Written && w.Kind != hit.Atomic: // which reads as well
		return hit.Continue
	case s.p.Kind == gdb.WriteWatch && w.Silent && w.Engine == hit.PageEngine:
		return hit.Continue // gdb would only compare the values, and go on
	}
	stop := gdb.Stop{CPU: w.VCPU, Point: &s.p, DataAddr: w.GVA}
	if w.GVA-s.p.Addr >= s.p.Len { // by another address, or by a device
		stop.DataAddr = s.p.Addr
	}
	if !w.Silent || w.Access == hit.Read {
		stop.Text = s.d.l.g.watches.line(w)
	}
	s.d.stand(stop)
	return hit.Continue
}
