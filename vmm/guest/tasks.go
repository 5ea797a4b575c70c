package guest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"ringo/debug/symbols"
	"ringo/internal/debugwindow"
	"ringo/vmm/control"
	"ringo/vmm/machine"
)

// window is the kernel's registry of tasks. The guest may run.
func (l *Live) window() (*debugwindow.Window, error) {
	w, err := debugwindow.Open(l.g.m.Memory(), l.g.debug.Base, l.g.debug.Size)
	if errors.Is(err, debugwindow.ErrAbsent) {
		return nil, fmt.Errorf("%w: %w", control.ErrUnsupported, err)
	}
	return w, err
}

// Tasks lists the kernel's tasks.
func (l *Live) Tasks() ([]control.Task, error) {
	release, err := l.hold()
	if err != nil {
		return nil, err
	}
	defer release()
	w, err := l.window()
	if err != nil {
		return nil, err
	}
	out := []control.Task{}
	running := l.running(w)
	for _, e := range w.Tasks() {
		if e.State == debugwindow.TaskFree {
			continue
		}
		t := control.Task{TID: int(e.TID), PID: int(e.PID), Name: e.Name, State: e.State.String(), CPU: -1, Call: l.call(&e)}
		for cpu, slot := range running {
			if slot == e.Slot {
				t.CPU = cpu
			}
		}
		if e.State == debugwindow.TaskParked {
			t.Asleep = l.since(e.Since)
		}
		out = append(out, t)
	}
	return out, nil
}

// running is the slots of the tasks in whose context vCPUs are, by vCPU. The guest stands still.
func (l *Live) running(w *debugwindow.Window) map[int]int {
	out := map[int]int{}
	for id := range l.g.o.CPUs {
		if e, ok := l.current(w, id); ok {
			out[id] = e.Slot
		}
	}
	return out
}

// current is the task in whose context a vCPU is.
func (l *Live) current(w *debugwindow.Window, id int) (debugwindow.Entry, bool) {
	r, err := l.g.m.Registers(id)
	if err != nil {
		return debugwindow.Entry{}, false
	}
	return w.CurrentTask(debugwindow.VCPU{Index: id, User: r.User(), SP: r.SP(), G: r.Goroutine()}, func(gva uint64, p []byte) int {
		return copy(p, l.g.m.Memory().ReadVirtual(r, gva, len(p)))
	})
}

// call is the system call that a task is in, "" for none.
func (l *Live) call(e *debugwindow.Entry) string {
	nr, ok := e.Syscall()
	if !ok {
		return ""
	}
	if name := syscallName(nr); name != "" {
		return name
	}
	return fmt.Sprintf("system call %d", nr)
}

// since is how long ago the guest's counter stood at a value. The guest stands still.
func (l *Live) since(counter uint64) time.Duration {
	now, err := l.g.m.Counter()
	if err != nil || now < counter || l.g.phases.hz == 0 {
		return 0
	}
	return time.Duration(float64(now-counter) / float64(l.g.phases.hz) * 1e9)
}

// sleeper is where a parked task's goroutine will go on.
func (l *Live) sleeper(w *debugwindow.Window, e *debugwindow.Entry, r *machine.Registers) (s *registerState, ok bool) {
	read := func(at uint32) uint64 {
		v, _ := word(l.g.m.Memory().ReadVirtual(r, e.G+uint64(at), 8))
		return v
	}
	o := &w.Header.Runtime
	pc, sp, fp := read(o.GSchedPC), read(o.GSchedSP), read(o.GSchedBP)
	if e.G == 0 || pc == 0 || sp == 0 {
		return nil, false
	}
	return partialRegisters(pc, sp, fp), true
}

// taskStacks are the stacks of all tasks that sleep. The guest stands still.
func (l *Live) taskStacks(table *symbols.Table) []control.Stack {
	w, err := l.window()
	if err != nil {
		return nil // a kernel without a registry
	}
	r, err := l.g.m.Registers(0)
	if err != nil {
		return nil
	}
	var out []control.Stack
	for _, e := range w.Tasks() {
		if e.State != debugwindow.TaskParked {
			continue
		}
		s := control.Stack{Name: taskName(&e), State: "asleep"}
		if c := l.call(&e); c != "" {
			s.State += " in " + c
		}
		if d := l.since(e.Since); d > 0 {
			s.State += " for " + d.Round(time.Microsecond).String()
		}
		if at, ok := l.sleeper(w, &e, r); ok {
			s.SP = control.Hex(at.Registers.SP())
			s.Frames = frames(table.Unwind(at.Registers, l.stackMemory(r)))
		}
		if len(s.Frames) < 2 { // the stack is damaged: what was noted when it was not
			s.Frames = nil
			for _, pc := range e.Where {
				if pc == 0 {
					break
				}
				f := symbols.Frame{PC: pc}
				f.Symbol, f.Known = table.Lookup(pc - 1)
				s.Frames = append(s.Frames, frames([]symbols.Frame{f})...)
			}
		}
		if e.Damage != "" {
			s.Error = "its entry is damaged: " + e.Damage
		}
		out = append(out, s)
	}
	return out
}

func taskName(e *debugwindow.Entry) string { return fmt.Sprintf("task %d %s", e.TID, e.Name) }

func word(b []byte) (uint64, bool) {
	if len(b) < 8 {
		return 0, false
	}
	return binary.LittleEndian.Uint64(b), true
}
