// Package gdb serves a running guest to stock gdb over the GDB remote serial protocol: vCPUs and sleeping tasks as
// threads, breakpoints, watchpoints of any length, memory and registers, and monitor commands.
//
// The client is not trusted: every packet is bounded and parsed once, and a mistake in it is an error answer. Serve
// handles one connection; when that ends, however it does, its breakpoints are gone and the guest runs on.
//
// All-stop only: a kernel of which some vCPUs stand still dead-locks on the first lock or IPI.
package gdb

import (
	"errors"

	"ringo/internal/tdesc"
)

// ThreadID is how gdb knows a vCPU or task: vCPU i is i+1, the task with TID t is TaskThread+t.
type ThreadID = int

// TaskThread is added to a task's TID.
const TaskThread = 10_000

// Thread is one for `info threads`.
type Thread struct {
	ID   ThreadID
	Core int    // vCPU, -1 for a sleeping task
	Name string // "vCPU 0: task 7 sh", "task 3 init, asleep in accept"
}

// Kind is what a breakpoint or watchpoint waits for, with gdb's numbers.
type Kind int

// Kinds.
const (
	SoftwareBreak Kind = iota
	HardwareBreak
	WriteWatch
	ReadWatch
	AccessWatch
	numKinds
)

// Point is a breakpoint or watchpoint. GVAs; Len is bytes for a watchpoint, and gdb's idea of the instruction for a breakpoint.
type Point struct {
	Kind Kind
	Addr uint64
	Len  uint64
}

// Stop is why all vCPUs stand still.
type Stop struct {
	CPU int
	// Point is what was hit, nil for none: a step, or an interruption.
	Point *Point
	// DataAddr is the GVA of the first watched byte that was accessed.
	DataAddr uint64
	// Step: the vCPU has executed the one instruction it was asked for.
	Step bool
	// Exited: the guest has ended.
	Exited bool
	// Text is for the user: what a watchpoint saw, or why the guest stands still. "" for nothing to say.
	Text string
}

// Registers are a thread's registers by number. They are a copy: what is set there reaches the vCPU when it goes on.
type Registers interface {
	Get(n int) []byte         // nil: not known
	Set(n int, p []byte) bool // false: cannot be set
}

// ErrUnsupported is wrapped by what this host or guest cannot do; gdb then tries other means.
var ErrUnsupported = errors.New("not supported")

// Target is the guest. All methods but Interrupt are called by one goroutine. While the guest runs only Insert, Remove,
// Interrupt and Detach are.
type Target interface {
	Description() *tdesc.Description
	// PC and SP are the numbers of those registers, which every stop tells.
	PC() int
	SP() int
	FP() int

	// Attach makes the guest stand still. Its error ends the connection.
	Attach() error
	// Detach removes all points and lets the guest run. It is called once, last.
	Detach()

	// Continue lets the guest run. vCPU step, if not -1, executes one instruction and stops; the others run, or stand
	// still with alone. The end arrives on Stops.
	Continue(step int, alone bool) error
	// StepOver executes one instruction of a vCPU, as if no breakpoint were there; all stand still before and after.
	StepOver(cpu int) error
	// Stops delivers one Stop for each Continue.
	Stops() <-chan Stop
	// Notes are texts for the user that belong to no stop; they are shown while the guest runs, and with the next stop.
	Notes() <-chan string
	// Interrupt asks a guest that runs to stop. Any goroutine. A stop that is on its way anyway counts.
	Interrupt()

	Threads() []Thread
	// Registers are those of a thread; an error for a thread that is not there.
	Registers(ThreadID) (Registers, error)
	// Flush writes a vCPU's changed registers; the guest stands still on.
	Flush() error

	// ReadMemory reads what there is at a GVA as a thread sees it, and answers how much that was.
	ReadMemory(t ThreadID, gva uint64, p []byte) int
	// WriteMemory writes all or answers an error.
	WriteMemory(t ThreadID, gva uint64, p []byte) error

	Insert(Point) error
	Remove(Point) error

	// Monitor executes a monitor command and writes what it prints.
	Monitor(t ThreadID, command string, print func(string)) error
	// Text is the GVA of the kernel's lowest segment, to which gdb moves its symbols.
	Text() uint64
	// Kernel is the path of the guest's kernel, which gdb reads through us; "" for none.
	Kernel() string
}
