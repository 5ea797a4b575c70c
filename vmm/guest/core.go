package guest

import (
	"io"
	"os"

	"debug/elf"

	"ringo/debug/core"
	"ringo/debug/gdb"
	"ringo/internal/debugwindow"
	"ringo/internal/pagetable"
)

// Core writes an ELF core file of the guest, which stands still meanwhile.
func (l *Live) Core(w io.Writer) error {
	entry, err := l.linkedEntry()
	if err != nil {
		return err
	}
	release, err := l.hold()
	if err != nil {
		return err
	}
	defer release()
	m := l.g.m
	in := &core.Input{
		Machine: elfMachine,
		Auxv:    [][2]uint64{{core.ATPAGESZ, core.PageSize}, {core.ATENTRY, entry}},
		Read: func(gpa uint64, p []byte) error {
			if m.Memory().Peek(gpa, p) != len(p) {
				return m.Memory().Check(gpa, uint64(len(p)))
			}
			return nil
		},
	}
	populated, err := m.Memory().Populated()
	if err != nil {
		return err
	}
	for _, r := range populated {
		in.RAM = append(in.RAM, core.Range(r))
	}
	for id := range m.CPUs() {
		r, err := m.Registers(id)
		if err != nil {
			return err
		}
		in.Threads = append(in.Threads, core.Thread{PID: id + 1, Regs: (&registerState{Registers: r}).Core()})
		if id > 0 {
			continue
		}
		m.Memory().Leaves(r.Root(kernelHalf), kernelHalf, kernelLast, func(f pagetable.Leaf) bool {
			if m.Memory().Check(f.PA, f.Size) == nil { // devices are not read
				in.Mappings = core.Join(in.Mappings, core.Mapping{
					GVA: f.VA, GPA: f.PA, Size: f.Size, Write: f.Prot&pagetable.Write != 0, Exec: f.Prot&pagetable.Exec != 0,
				})
			}
			return true
		})
	}
	in.Threads = append(in.Threads, l.sleepers()...)
	return core.Write(w, in)
}

// sleepers are the tasks that sleep, as far as it is known where: threads behind those of the vCPUs, numbered as in gdb. The guest stands
// still.
func (l *Live) sleepers() (out []core.Thread) {
	w, err := l.window()
	if err != nil {
		return nil // a kernel without a registry
	}
	r, err := l.g.m.Registers(0)
	if err != nil {
		return nil
	}
	for _, e := range w.Tasks() {
		if e.State != debugwindow.TaskParked || len(out) >= maxThreads {
			continue
		}
		if at, ok := l.sleeper(w, &e, r); ok {
			out = append(out, core.Thread{PID: gdb.TaskThread + int(e.TID), Regs: at.Core()})
		}
	}
	return out
}

// linkedEntry is the GVA of the kernel's entry point, by which debuggers find out how far it was moved.
func (l *Live) linkedEntry() (uint64, error) {
	f, err := os.Open(l.g.o.Kernel)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	e, err := elf.NewFile(f)
	if err != nil {
		return 0, err
	}
	lowest := ^uint64(0)
	for _, p := range e.Progs {
		if p.Type == elf.PT_LOAD {
			lowest = min(lowest, p.Vaddr)
		}
	}
	return e.Entry - lowest + l.g.entry.Image.Virt, nil
}
