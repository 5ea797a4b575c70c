package task

import (
	"golang.org/x/sys/unix"

	"ringo/guestkernel/mm"
)

// EventKind is why Machine.Run returned.
type EventKind int

// Kinds of Event.
const (
	EventInterrupt EventKind = iota // timer tick or kick
	EventSyscall
	EventPageFault // Addr and Access
	EventElsewhere // user mode was not entered: the CPU is not one of those allowed
	EventAgain     // user mode was not entered: this is another CPU than before
	EventException // Signal and Code say what Linux makes of it
)

// Event is why user mode stopped.
type Event struct {
	Kind   EventKind
	Access mm.Prot
	Addr   uint64 // page fault: the address; exception: the instruction
	Signal unix.Signal
	Code   int32  // si_code
	Trap   uint64 // for the signal frame: vector (amd64)
	Error  uint64 // error code (amd64), ESR (arm64)
	// Nr and Args are the system call's.
	Nr   uint64
	Args Args
}

// Identity is what the calls answer that say who the caller is.
type Identity struct{ PID, TID, UID, EUID, GID, EGID uint32 }

// Context is the CPU state of one user thread while it is not in user mode. Only the task's own
// goroutine uses it, except Interrupt.
type Context interface {
	Syscall() (nr uint64, args [6]uint64)
	SetReturn(v int64)
	// Result is where SetReturn stores.
	Result() *uint64
	Return() int64
	// RestartSyscall makes the user execute the call again that ended Run.
	RestartSyscall()
	PC() uint64
	SP() uint64
	SetSP(v uint64)
	TLS() uint64
	SetTLS(v uint64)
	// Loaded is 1 + the number of the CPU that entered user mode last, if it was with this context, or 0: that is not known.
	Loaded() *uint32
	// Reset is execve(2)'s state: everything zero but entry point and stack.
	Reset(entry, sp uint64)
	// CopyFrom is fork(2)'s: registers, TLS and vector state.
	CopyFrom(other Context)
	// Regs are the general registers, to be changed in place.
	Regs() *Regs
	// VectorState is the vector state as signal frames carry it; SetVectorState loads state that a user may
	// have forged, nil being the initial state, and reports whether it was acceptable.
	VectorState() []byte
	SetVectorState(b []byte) bool
	// SaveVector completes the vector state in memory: cheap now, before the goroutine sleeps, and dear when it has come to another CPU.
	SaveVector()
	// SetIdentity lets the CPU answer getpid and the like without the kernel; nil ends that.
	SetIdentity(id *Identity)
	// SetRoot selects the address space (GPA of the page-table root).
	SetRoot(phys uint64)
	// SetAllowed sets the CPUs on which Run enters user mode, bit n for CPU n; all at first. LastCPU is where it did last.
	SetAllowed(cpus uint64)
	LastCPU() int
	// Interrupt makes Run return soon, or at once if it is called next. Any goroutine.
	Interrupt()
	// Interrupting says whether an Interrupt has not ended user mode yet. Any goroutine.
	Interrupting() bool
	// Release frees the context.
	Release()
}

// Machine is the CPU below the tasks.
type Machine interface {
	NewContext() (Context, error)
	// Run enters user mode, and stores why it stopped in e: all of it but for a system call, of which it stores Kind, Nr and Args alone.
	Run(c Context, e *Event)
	// CPUs is the number of CPUs, CPU the one that the calling goroutine is on.
	CPUs() int
	CPU() int
	// Waiting says whether anybody waits for the CPU that the calling goroutine is on: a hint.
	Waiting() bool
	// Keep says whether the calling goroutine may keep its CPU at a tick: nobody has use for it.
	Keep() bool
	// MoveTo moves the calling goroutine to one of a set of CPUs, for the moment.
	MoveTo(cpus uint64) bool
}

// Injector plants a bug. All methods run on the task's goroutine.
type Injector interface {
	// Call serves a system call with next, and does what the plant does around it.
	Call(t *Task, nr uint64, args [6]uint64, next Syscalls) (uint64, error)
	// SwitchOut and SwitchIn are called before the task sleeps and after it woke.
	SwitchOut(t *Task)
	SwitchIn(t *Task)
	// Ended is called when the task ends.
	Ended(t *Task)
}

// Args are the six argument registers of a call.
type Args [6]uint64

// Int, Uint and Int64 are argument i as the C types int, unsigned int and long.
func (a Args) Int(i int) int       { return int(int32(a[i])) }
func (a Args) Uint(i int) uint32   { return uint32(a[i]) }
func (a Args) Int64(i int) int64   { return int64(a[i]) }
func (a Args) Uint64(i int) uint64 { return a[i] }

// Handler serves one call.
type Handler func(t *Task, a Args) (uint64, error)

// Syscalls serves system calls.
type Syscalls interface {
	// Handlers are the calls by number, nil where Call has to answer. They do not change.
	Handlers() []Handler
	Call(t *Task, nr uint64, args [6]uint64) (uint64, error)
	Name(nr uint64) string
}
