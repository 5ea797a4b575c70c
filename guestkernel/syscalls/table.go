package syscalls

import (
	"fmt"
	"sort"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/task"
)

// Args are the six argument registers of a call, Handler serves one.
type (
	Args    = task.Args
	Handler = task.Handler
)

// handlers is filled by register during package initialisation and not written afterwards.
var handlers = map[string]Handler{}

// register enters calls by their Linux names. Each topic file calls it from init.
func register(calls map[string]Handler) {
	for name, h := range calls {
		if handlers[name] != nil {
			panic("syscalls: " + name + " registered twice")
		}
		handlers[name] = h
	}
}

// Table serves system calls by number for one architecture. It implements task.Syscalls.
type Table struct {
	calls   []Handler
	names   []string
	missing []atomic.Uint64
	beyond  atomic.Uint64 // calls with numbers behind the table
}

// NewTable lays the handlers out by the numbers of an architecture (abi.SyscallNumbers).
func NewTable(numbers map[string]int) *Table {
	top := 0
	for _, n := range numbers {
		top = max(top, n)
	}
	t := &Table{calls: make([]Handler, top+1), names: make([]string, top+1), missing: make([]atomic.Uint64, top+1)}
	for name, n := range numbers {
		t.names[n] = name
		t.calls[n] = handlers[name]
	}
	return t
}

// Call serves one system call of t. As in Linux, the number is the low 32 bits of its register.
func (tb *Table) Call(t *task.Task, nr uint64, args [6]uint64) (uint64, error) {
	nr = uint64(uint32(nr))
	if nr >= uint64(len(tb.calls)) {
		tb.beyond.Add(1)
		return 0, unix.ENOSYS
	}
	h := tb.calls[nr]
	if h == nil {
		tb.missing[nr].Add(1)
		return 0, unix.ENOSYS
	}
	return h(t, Args(args))
}

// Handlers implements task.Syscalls.
func (tb *Table) Handlers() []Handler { return tb.calls }

// Name is the Linux name of call nr.
func (tb *Table) Name(nr uint64) string {
	if nr < uint64(len(tb.names)) && tb.names[nr] != "" {
		return tb.names[nr]
	}
	return fmt.Sprintf("syscall_%d", nr)
}

// MissingCall is a call that programs made and nobody serves.
type MissingCall struct {
	Number uint64
	Name   string
	Count  uint64
}

// Missing lists the calls that answered ENOSYS for want of a handler, by number.
func (tb *Table) Missing() []MissingCall {
	var out []MissingCall
	for n := range tb.missing {
		if c := tb.missing[n].Load(); c > 0 {
			out = append(out, MissingCall{uint64(n), tb.Name(uint64(n)), c})
		}
	}
	if c := tb.beyond.Load(); c > 0 {
		out = append(out, MissingCall{uint64(len(tb.calls)), "numbers behind the table", c})
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Number < out[j].Number })
	return out
}
