// Package plants is the table of bugs that the kernel can plant (guestkernel/inject) and of what a debugger has to say about
// each. Tests walk it; docs/plants.md is made of it.
package plants

// ControlSuffix turns a plant's name into that of its control: the same work without the bug, about which every detector
// has to stay silent.
const ControlSuffix = "-control"

// Plant is one planted bug.
type Plant struct {
	Name string
	What string // the bug, one line
	Row  int    // in the table of the research notes
	// Program is the guest program that triggers it, a C file in guestkernel/inject/testdata without ".c"; its arguments.
	Program string
	Args    []string
	// Flags are further arguments of vmm run under which the bug is found.
	Flags []string
	// Dies says that without a debugger the kernel ends in a crash; else the program reports success and nobody notices.
	Dies bool
	// Rule is the verdict (debug/classify), "" where there is to be no report.
	Rule string
	// Function is the function that makes the write, without its package path; empty where no instruction does.
	Function string
	// Writer and Victim are the names of the tasks, "" for none.
	Writer, Victim string
	// Call is the writer's system call, "" for none.
	Call string
	// Bytes is the size of the write that is reported, 0: not checked.
	Bytes int
	// New is what is written, as it repeats; nil: not checked.
	New []byte
	// Arches and CPUs are where the row makes sense; nil: everywhere, 1 and 2.
	Arches []string
	CPUs   []int
}

// All are the plants.
var All = []Plant{
	{
		Name: "stack-overflow", Row: 1, Program: "stream",
		What:  "connect(2) builds a temporary of 16 KiB on a kernel stack of 8 KiB, next to the stack of a task asleep in accept(2)",
		Flags: []string{"--guard", "stacks"}, Dies: true,
		Rule: "R1", Function: "inject.newStream", Writer: "client", Victim: "server", Call: "connect", New: []byte{0},
	},
}
