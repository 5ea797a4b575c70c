package guest

import (
	"encoding/binary"
	"os"
	"runtime/debug"
	"strings"

	"ringo/debug/report"
	"ringo/debug/symbols"
	"ringo/internal/pagetable"
	"ringo/vmm/machine"
)

// fatalReport is the report of a vCPU that cannot go on.
func (g *guest) fatalReport(f *machine.FatalExit) string {
	in := &report.Input{Cause: report.CauseExit, Reason: f.Reason, Err: f.Err, Addr: f.Addr, VCPU: f.VCPU}
	if f.Early != "" {
		in.Cause = report.CauseEarly
	}
	return g.report(in, f.CPUs)
}

// states is the report of a machine that ended for another reason.
func (g *guest) states(cause report.Cause) string {
	return g.report(&report.Input{Cause: cause, VCPU: -1}, g.m.CPUStates())
}

func (g *guest) report(in *report.Input, cpus []machine.CPUState) string {
	in.Disassemble, in.CallTarget, in.CallLength = disassemble, callTarget, callLength
	in.Symbols, in.SymbolsErr = g.symbols()
	mem := g.m.Memory()
	if describeArea != nil {
		in.Lost = func(vcpu int) []string { return g.lost(vcpu, in.Symbols) }
	}
	for _, s := range cpus {
		c := report.CPU{ID: s.ID, Err: s.Err, Total: s.Total}
		for _, e := range s.Exits {
			c.Exits = append(c.Exits, e.String())
		}
		if r := s.Registers; r != nil {
			c.Registers = r
			c.Read = func(gva uint64, n int) []byte { return mem.ReadVirtual(r, gva, n) }
			c.Walk = func(gva uint64) pagetable.Walk { return mem.Walk(r, gva) }
		}
		in.CPUs = append(in.CPUs, c)
	}
	var b strings.Builder
	// A strings.Builder takes every write.
	_ = report.Write(&b, in)
	g.writeHistory(&b, in.Symbols)
	return b.String()
}

// lost is what the kernel's memory tells of a vCPU whose registers are lost. The boot page tables lead to the image, the root that
// the image names leads to everything else.
func (g *guest) lost(vcpu int, table *symbols.Table) []string {
	f, err := os.Open(g.o.Kernel)
	if err != nil {
		return []string{"the kernel's variables: " + err.Error()}
	}
	defer f.Close()
	vars, err := symbols.LoadVariables(f, g.entry.Image.Virt)
	if err != nil {
		return []string{"the kernel's variables: " + err.Error()}
	}
	mem := g.m.Memory()
	read := func(root, gva uint64) (uint64, bool) {
		var b [8]byte
		w := mem.WalkRoot(root, gva)
		ok := w.Result == pagetable.WalkMapped && mem.Peek(w.PA, b[:]) == len(b)
		return binary.LittleEndian.Uint64(b[:]), ok
	}
	resolve := func(name string) (uint64, error) {
		gva, _, err := vars.Resolve(name)
		return gva, err
	}
	root := g.entry.Root
	if at, err := resolve(kernelRoot); err == nil {
		if v, ok := read(root, at); ok && v != 0 {
			root = v
		}
	}
	name := func(gva uint64) string {
		s, ok := table.Lookup(gva)
		if !ok {
			return "no symbol"
		}
		return s.String()
	}
	return describeArea(vcpu, resolve, func(gva uint64) (uint64, bool) { return read(root, gva) }, name)
}

// symbolMemory replaces the soft limit on the monitor's own memory once there is a symbol table: below it the collector
// would run all the time while the table is read.
const symbolMemory = 256 << 20

// symbols reads the kernel's file again, once: reports are rare, and the table is large.
func (g *guest) symbols() (*symbols.Table, error) {
	g.table.once.Do(func() {
		f, err := os.Open(g.o.Kernel)
		if err != nil {
			g.table.err = err
			return
		}
		defer f.Close()
		if debug.SetMemoryLimit(-1) < symbolMemory {
			debug.SetMemoryLimit(symbolMemory)
		}
		g.table.t, g.table.err = symbols.Load(f, g.entry.Image.Virt)
	})
	return g.table.t, g.table.err
}
