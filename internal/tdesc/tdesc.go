// Package tdesc describes the registers of an architecture to gdb ("Target Descriptions" in the GDB manual): the table
// that arch/*/gdbregs fills and debug/gdb speaks.
package tdesc

import (
	"fmt"
	"strings"
)

// Register is one register. Its number is its place among all registers of a Description.
type Register struct {
	Name  string
	Bits  int // a multiple of 8
	Type  string
	Group string // "" is gdb's choice
}

// Feature is registers that gdb knows under one name.
type Feature struct {
	Name      string
	Types     string // XML that defines types
	Registers []Register
}

// Description is an architecture.
type Description struct {
	Architecture string // gdb's name
	Features     []Feature
}

// Registers are all registers in order.
func (d *Description) Registers() []Register {
	var out []Register
	for _, f := range d.Features {
		out = append(out, f.Registers...)
	}
	return out
}

// XML is the target description.
func (d *Description) XML() string {
	var b strings.Builder
	b.WriteString("<?xml version=\"1.0\"?>\n<!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n<target version=\"1.0\">\n")
	fmt.Fprintf(&b, "<architecture>%s</architecture>\n<osabi>none</osabi>\n", d.Architecture)
	n := 0
	for _, f := range d.Features {
		fmt.Fprintf(&b, "<feature name=\"%s\">\n%s", f.Name, f.Types)
		for _, r := range f.Registers {
			fmt.Fprintf(&b, "<reg name=\"%s\" bitsize=\"%d\" type=\"%s\" regnum=\"%d\"", r.Name, r.Bits, r.Type, n)
			if r.Group != "" {
				fmt.Fprintf(&b, " group=\"%s\"", r.Group)
			}
			b.WriteString("/>\n")
			n++
		}
		b.WriteString("</feature>\n")
	}
	b.WriteString("</target>\n")
	return b.String()
}
