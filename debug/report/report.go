// Package report writes what a person needs when a guest cannot go on: what happened and
// what that means, where (instruction, function, line), how it came there (stack), what the
// page tables say about the addresses involved, what the machine did last, and what to try
// next. It reads guest memory only through functions that bear any address.
package report

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"

	"ringo/debug/symbols"
	"ringo/internal/kvm"
	"ringo/internal/pagetable"
)

// Registers is a vCPU's state; arch/*/vcpu.Registers.
type Registers interface {
	symbols.Registers
	// FaultAddress is the GVA of the last page fault or abort.
	FaultAddress() uint64
	// User says whether the vCPU was in user mode.
	User() bool
	// WasReset says that the state is that after a reset: the real one is lost.
	WasReset() bool
	fmt.Stringer
}

// CPU is one vCPU that is not running any more.
type CPU struct {
	ID        int
	Registers Registers // nil: not available, Err says why
	Err       error
	// Read reads up to n bytes of guest memory at a GVA, Walk answers the way through the
	// page tables in force.
	Read func(gva uint64, n int) []byte
	Walk func(gva uint64) pagetable.Walk
	// Exits are the last exits, oldest first, of Total.
	Exits []string
	Total uint64
}

// Cause says what kind of end the report is about.
type Cause int

// Causes.
const (
	CauseExit  Cause = iota // KVM left the guest for good: Input.Reason
	CauseEarly              // an exception before the kernel had its own vectors
	CausePanic              // the kernel's own panic
	CauseHang               // the guest was stopped from outside
)

// Input is what a report is made of.
type Input struct {
	Cause  Cause
	Reason kvm.Reason // CauseExit
	Err    error      // CauseExit: what KVM_RUN answered, if that was an error
	Addr   uint64     // CauseExit: the exit's GPA, where it has one
	VCPU   int        // whose exit it is, -1 for nobody's

	CPUs []CPU
	// Symbols may be nil; SymbolsErr then says why.
	Symbols    *symbols.Table
	SymbolsErr error
	// Disassemble, CallTarget and CallLength are those of arch/*/disasm.
	Disassemble func(code []byte, pc uint64, symbol func(uint64) (string, uint64)) (string, int)
	CallTarget  func(code []byte, ret uint64) (uint64, bool)
	CallLength  int
	// Lost, which may be nil, is what the kernel's memory tells of a vCPU whose registers are lost, as lines.
	Lost func(vcpu int) []string
}

// Guide is where the reader finds more.
const Guide = "docs/debugging-boot.md"

// RegistersLost is the line of a vCPU whose registers KVM has thrown away. In the hosted machine that can be QEMU's doing: docs/debugging-boot.md, section 6.
const RegistersLost = "registers: lost; this host's KVM resets a vCPU at a triple fault"

// hostIDT is where Linux on amd64 has its interrupt table: not where a guest of ours has.
const hostIDT = "idt fffffe0000000000"

// FellToQEMU says of a report, or of what the monitor said of a guest's end, that a vCPU had the host's registers, or none: the hosted amd64
// machine's QEMU does that to a guest now and then (docs/debugging-boot.md, section 6). Who runs many guests gives such a one a second try and says so.
func FellToQEMU(text string) bool {
	return strings.Contains(text, RegistersLost) || strings.Contains(text, hostIDT)
}

// untouched is what KVM on arm64 puts into system registers at reset.
const untouched = 0x1de7ec7edbadc0de

// Bounds of a report.
const (
	before    = 4       // instructions before PC
	behind    = 8       // and from PC on
	maxBefore = 4 << 10 // bytes of a function that are decoded to find those before
	maxWords  = 128     // stack words looked at for return addresses
	maxHints  = 12      // and shown
)

// Write writes the report: first the vCPU whose exit it is, then the others.
func Write(w io.Writer, in *Input) error {
	b := &strings.Builder{}
	cpus := slices.Clone(in.CPUs)
	slices.SortStableFunc(cpus, func(a, c CPU) int { return rank(a, in) - rank(c, in) })
	for i := range cpus {
		in.cpu(b, &cpus[i])
	}
	if in.SymbolsErr != nil {
		fmt.Fprintf(b, "\nno names: %v\n", in.SymbolsErr)
	}
	fmt.Fprintf(b, "\nnext: %s\n      %s\n", in.advice(), Guide)
	_, err := io.WriteString(w, b.String())
	return err
}

func rank(c CPU, in *Input) int {
	if c.ID == in.VCPU {
		return 0
	}
	return 1
}

func (in *Input) cpu(b *strings.Builder, c *CPU) {
	role := ""
	if c.ID == in.VCPU {
		role = ", where it happened"
	}
	fmt.Fprintf(b, "\n--- vCPU %d%s\n", c.ID, role)
	if c.Registers == nil {
		fmt.Fprintf(b, "registers: not available: %v\n", c.Err)
		in.exits(b, c)
		return
	}
	r := c.Registers
	if r.WasReset() {
		fmt.Fprintln(b, RegistersLost)
		if in.Lost != nil {
			fmt.Fprintln(b, strings.Join(in.Lost(c.ID), "\n"))
		}
		in.exits(b, c)
		return
	}
	mode := "kernel"
	if r.User() {
		mode = "user mode"
	}
	fmt.Fprintf(b, "at %#x in %s: %s\n", r.PC(), mode, in.name(r.PC()))
	in.code(b, c)
	in.stack(b, c)
	fmt.Fprintf(b, "page walks\n")
	walk := func(what string, gva uint64) { fmt.Fprintf(b, "    %-14s %s\n", what, c.Walk(gva)) }
	walk("pc", r.PC())
	walk("sp", r.SP())
	if r.FaultAddress() == untouched {
		fmt.Fprintf(b, "    %-14s none since reset\n", "fault address")
	} else {
		walk("fault address", r.FaultAddress())
	}
	fmt.Fprintf(b, "registers\n%s\n", indent(r.String()))
	in.exits(b, c)
}

func (in *Input) name(gva uint64) string {
	s, ok := in.Symbols.Lookup(gva)
	if !ok {
		return "no symbol"
	}
	return s.String()
}

// code decodes around PC. What lies before PC is found by decoding its function from the
// start: instructions cannot be decoded backwards.
func (in *Input) code(b *strings.Builder, c *CPU) {
	pc := c.Registers.PC()
	fmt.Fprintln(b, "instructions")
	code := c.Read(pc, 128)
	if len(code) == 0 {
		fmt.Fprintf(b, "    %#x: cannot be read\n", pc)
		return
	}
	lookup := func(gva uint64) (string, uint64) {
		s, _ := in.Symbols.Lookup(gva)
		return s.Function, s.Start
	}
	line := func(mark string, code []byte, at uint64) int {
		text, n := in.Disassemble(code, at, lookup)
		n = min(n, len(code))
		fmt.Fprintf(b, " %s %#x  %-32s  %s\n", mark, at, fmt.Sprintf("% x", code[:n]), text)
		return n
	}
	if s, ok := in.Symbols.Lookup(pc); ok && s.Offset > 0 && s.Offset <= maxBefore {
		function := c.Read(s.Start, int(s.Offset))
		var starts []int
		at := 0
		for at < len(function) {
			starts = append(starts, at)
			_, n := in.Disassemble(function[at:], s.Start+uint64(at), nil)
			at += max(n, 1)
		}
		if uint64(at) == s.Offset { // else the stream does not meet PC: better nothing than wrong
			for _, start := range starts[max(0, len(starts)-before):] {
				line("  ", function[start:], s.Start+uint64(start))
			}
		}
	}
	mark := "=>"
	for off, n := 0, 0; off < len(code) && n < behind; n++ {
		if mark != "=>" && padding(code[off:]) {
			break
		}
		off += line(mark, code[off:], pc+uint64(off))
		mark = "  "
	}
}

// padding says that the linker's filling between functions starts here.
func padding(code []byte) bool {
	return len(code) >= 4 && (bytes.Equal(code[:4], []byte{0xcc, 0xcc, 0xcc, 0xcc}) || bytes.Equal(code[:4], make([]byte, 4)))
}

// stack shows the frames, and then the words near SP that look like return addresses: all
// there is when the chain of frame pointers is damaged.
func (in *Input) stack(b *strings.Builder, c *CPU) {
	r := c.Registers
	word := func(gva uint64) (uint64, bool) {
		w := c.Read(gva, 8)
		if len(w) < 8 {
			return 0, false
		}
		return binary.LittleEndian.Uint64(w), true
	}
	table := in.Symbols
	if r.User() {
		table = nil // the kernel's symbols say nothing about a program
	}
	fmt.Fprintln(b, "stack, by frame pointers")
	frames := table.Unwind(r, symbols.Memory{Word: word, CallTarget: func(ret uint64) (uint64, bool) {
		return in.CallTarget(c.Read(ret-uint64(in.CallLength), in.CallLength), ret)
	}})
	for i, f := range frames {
		name := "no symbol"
		if f.Known {
			name = f.Symbol.String()
		}
		fmt.Fprintf(b, "    #%-2d %#x  %s\n", i, f.PC, name)
	}
	if len(frames) >= 4 || r.User() {
		return
	}
	words := c.Read(r.SP(), maxWords*8)
	shown := 0
	for i := 0; i+8 <= len(words) && shown < maxHints; i += 8 {
		v := binary.LittleEndian.Uint64(words[i:])
		s, ok := in.Symbols.Lookup(v - 1)
		if !ok || s.Offset == 0 {
			continue
		}
		if shown == 0 {
			fmt.Fprintln(b, "words on the stack that may be return addresses")
		}
		shown++
		s.Offset++
		fmt.Fprintf(b, "    sp+%#-5x %#x  %s\n", i, v, s)
	}
	if len(words) < 8 {
		fmt.Fprintf(b, "    the stack at %#x cannot be read\n", r.SP())
	}
}

func (in *Input) exits(b *strings.Builder, c *CPU) {
	fmt.Fprintf(b, "last exits, of %d\n", c.Total)
	if len(c.Exits) == 0 {
		fmt.Fprintln(b, "    none")
	}
	for _, e := range c.Exits {
		fmt.Fprintf(b, "    %s\n", strings.TrimSpace(e))
	}
}

func indent(s string) string {
	return "    " + strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n    ")
}
