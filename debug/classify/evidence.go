package classify

import (
	"fmt"

	"ringo/debug/hit"
)

// Span is the half-open range [Lo, Hi) of GVAs.
type Span struct{ Lo, Hi uint64 }

// Contains reports whether addr lies in the span.
func (s Span) Contains(addr uint64) bool { return addr >= s.Lo && addr < s.Hi }

// Size in bytes; 0 for the zero Span.
func (s Span) Size() uint64 { return s.Hi - s.Lo }

// String is "[lo, hi)" in hexadecimal.
func (s Span) String() string { return fmt.Sprintf("[%#x, %#x)", s.Lo, s.Hi) }

// Task names who writes or sleeps. The zero Task is nobody known.
type Task struct {
	ID   int    // thread id; 0: not a task (the kernel itself)
	Name string // the program's name, or the kernel thread's
}

// String is `task 7 "sh"`, or the name alone for what is not a task.
func (t Task) String() string {
	switch {
	case t.ID != 0 && t.Name != "":
		return fmt.Sprintf("task %d %q", t.ID, t.Name)
	case t.ID != 0:
		return fmt.Sprintf("task %d", t.ID)
	case t.Name != "":
		return t.Name
	}
	return "an unknown task"
}

// Translation is what the page tables say about the address of a write.
type Translation struct {
	Known  bool   // they were walked
	Mapped bool   // to RAM
	GPA    uint64 // where they lead, if mapped
}

// Allocation is one event in a frame's history.
type Allocation struct {
	What string // "allocated", "freed"
	By   string // function
	Task Task
	Ago  int64 // ns before the write
}

// Frame is what the kernel's records say about the physical frame that was written.
type Frame struct {
	Owner   string // "" when not known
	Stack   bool   // the owner is one that holds kernel stacks
	History []Allocation
}

// Cell is a word in memory that the writer's operands reach.
type Cell struct {
	Via   string // "[rsi]"
	Addr  uint64 // GVA
	Value []byte
}

// Evidence is everything that Judge looks at. Unknown parts are zero; no rule that needs them fits then.
type Evidence struct {
	Write *hit.Write // nil: no write was seen
	// AsVictim is the victim's own address of the write's first byte: the same as its GVA unless it came
	// by another alias.
	AsVictim uint64
	// First is the victim's address of the first byte that matters; 0: AsVictim.
	First uint64

	Victim      Task
	VictimStack Stack
	// VictimRuns: a CPU runs the victim although the registry has it asleep.
	VictimRuns bool

	Writer Task
	// Own are the stacks on which the writer may run: its task's, its goroutine's, its CPU's.
	Own []Span
	// Callers are the functions of the writer's stack, innermost first.
	Callers []string
	// FrameSize is the largest frame among them, in bytes, and FrameOf its function. 0: not known.
	FrameSize uint64
	FrameOf   string

	Walk  Translation
	Frame Frame
	// Reachable are words that the operands of the instruction point to, for the provenance hint.
	Reachable []Cell

	// The rest is for evidence without a write.
	Changed  bool   // the stack's content is not what it was at switch-out
	Armed    bool   // the page engine watched the stack all that time
	BadFrame string // what is wrong with the saved frame, as it was saved; "" for nothing
	SavedBy  string // the function that saved it
}
