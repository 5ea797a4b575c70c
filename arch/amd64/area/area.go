// Package area reads, from the monitor's side, what ring0 keeps of a CPU in its per-CPU area: for a vCPU
// whose registers are lost, because KVM on AMD resets a vCPU at a triple fault. The layout is that of arch/amd64/ring0's
// type cpu, taken from the kernel's debug information.
package area

import (
	"fmt"
	"strings"
)

const (
	variables = "ringo/arch/amd64/ring0."
	template  = variables + "bootCPU" // a cpu with an address of its own: where the fields are
	kernelCS  = 0x08
)

// The tops of the stacks in a 64-bit TSS, in 32-bit words (AMD64 APM volume 2, 12.2.5), as ring0 uses them.
var stacks = []struct {
	what string
	at   uint64
}{
	{"interrupt", 9}, {"exception", 11}, {"double fault", 13},
}

var states = []string{"in a thread or user mode", "in a handler", "idle"}

// Describe is what is known of a CPU, as lines; one that says why if that is nothing. resolve is the GVA of a variable, or of a field or element of one;
// word reads 8 bytes at a GVA of the kernel's half by the kernel's own page tables; name is the function at a GVA. The guest does not run.
func Describe(cpu int, resolve func(name string) (uint64, error), word func(gva uint64) (uint64, bool), name func(gva uint64) string) []string {
	at, err := resolve(fmt.Sprintf("%sareas[%d]", variables, cpu))
	if err != nil {
		return []string{fmt.Sprintf("the kernel's area of this CPU: %v", err)}
	}
	self, ok := word(at)
	if !ok || self == 0 {
		return []string{"the kernel's area of this CPU: none yet, or it cannot be read"}
	}
	field := func(part string, off uint64) (uint64, bool) {
		base, err := resolve(template)
		if err != nil {
			return 0, false
		}
		f, err := resolve(template + "." + part)
		if err != nil {
			return 0, false
		}
		return word(self + f - base + off)
	}
	show := func(part string) string {
		v, ok := field(part, 0)
		if !ok {
			return part + " cannot be read"
		}
		return fmt.Sprintf("%s %#x", part, v)
	}
	state := show("state")
	if v, ok := field("state", 0); ok && v < uint64(len(states)) {
		state = states[v]
	}
	lines := []string{
		fmt.Sprintf("the kernel's area of this CPU, %#x: it was %s", self, state),
		"    " + strings.Join([]string{show("root"), show("thread"), show("user"), show("owner"), show("scratch")}, ", "),
	}
	for _, s := range stacks {
		// The fields of a TSS lie 4 bytes off an 8-byte boundary.
		low, ok := field("tss", s.at*4-4)
		high, ok2 := field("tss", s.at*4+4)
		if !ok || !ok2 {
			return append(lines, "    the TSS cannot be read")
		}
		lines = append(lines, "    last frame on the "+s.what+" stack: "+frame(low>>32|high<<32, word, name))
	}
	return lines
}

// frame is what the CPU pushed last on an IST stack (AMD64 APM volume 2, 8.9.3), and the entry code below it: error code and vector.
func frame(top uint64, word func(gva uint64) (uint64, bool), name func(gva uint64) string) string {
	var w [7]uint64 // SS, SP, flags, CS, IP, error code, vector
	for i := range w {
		v, ok := word(top - uint64(i+1)*8)
		if !ok {
			return fmt.Sprintf("%#x cannot be read", top-uint64(i+1)*8)
		}
		w[i] = v
	}
	if w == [7]uint64{} {
		return "none"
	}
	where := "user mode"
	if w[3] == kernelCS {
		where = name(w[4])
	}
	return fmt.Sprintf("vector %d, error code %#x, IP %#x (%s), SP %#x, flags %#x, CS %#x, SS %#x", w[6], w[5], w[4], where, w[1], w[2], w[3], w[0])
}
