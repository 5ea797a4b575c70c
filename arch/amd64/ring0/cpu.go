//go:build amd64

package ring0

import _ "unsafe" // linkname

// Handlers is what the nucleus gives to ring0. See the package comment for the rules.
type Handlers struct {
	Boot      func(info uint64)
	Start     func(index int)
	Syscall   func(t *Context)
	Exception func(t *Context, e *Event)
	Interrupt func(t *Context, source uint64)
	Fatal     func(f *Frame, e *Event)
}

// handlers is defined, with its contents, by the nucleus: it has to be there before any
// package initialisation. Here it is only a name (the linker lets the definition with content win).
//
//go:linkname handlers ringo/guestkernel/nucleus.handlers
var handlers Handlers

// Sources of an interrupt. SourceLine+n is device line n (amd64: I/O APIC pin; arm64: INTID).
const (
	SourceTimer    = 0
	SourceIPI      = 1
	SourceSpurious = 2
	SourceLine     = 16
)

// What a CPU is doing, for the trap entry.
const (
	stateThread  = iota // kernel Go code of a thread, or user mode
	stateNucleus        // a handler: interrupts are masked, an exception is fatal
	stateIdle           // in Idle: an interrupt ends it
)

// cpu is the per-CPU area. GS base points at it whenever the CPU is in kernel mode; the entry
// code uses it by the offsets in go_asm.h. Only the CPU itself writes it after PublishArea.
type cpu struct {
	self    uint64 // GVA of this struct
	index   uint64
	apicID  uint64
	thread  uint64 // *Context that runs, or will when the handler returns
	state   uint64
	user    uint64 // *UserContext while in user mode
	userSP  uint64 // stack and frame pointer with which RunUser returns
	userBP  uint64
	root    uint64 // CR3
	stack   uint64 // top of the nucleus stack
	fatal   uint64 // top of the stack for Handlers.Fatal
	tls     uint64 // FS base for handlers: &g + 8
	g       uint64 // address of fakeG; at -8(FS) as the runtime's own code expects
	tlsEnd  uint64
	scratch uint64
	idleSP  uint64
	cr2     uint64
	owner   uint64 // *UserContext the rest of whose vector state is in this CPU's registers, see vector.go
	enabled uint64 // not 0: XCR0 is what users get

	fakeG [64]uint64 // enough of a runtime.g: stack.lo, stack.hi, stackguard0, stackguard1, then zeros
	frame Frame      // registers at a fatal exception
	event Event
	gdt   [8]uint64
	tss   [26]uint32
}

// Index is the number of this CPU. From a goroutine it is a hint: the thread may move at any time.
func Index() int { return int(currentIndex()) }

// SetThread makes c the thread that this CPU resumes when the running handler returns.
func SetThread(c *Context) { setThread(c) }

// Defined in lib.s.
func currentIndex() uint64
func currentCPU() *cpu
func setThread(c *Context)

// Thread is the thread set on this CPU, or nil.
func Thread() *Context

// Idle enables interrupts and halts until one comes, which it acknowledges. The caller holds no lock.
func Idle() (source uint64) { return acknowledge(idle()) }

// Scheduler is where the calling goroutine's runtime.g and runtime.sched lie: guestkernel/nucleus knows their fields. Any goroutine.
func Scheduler() (gp, sched uintptr)

// Pause tells the CPU that this is a spin loop. Any context.
func Pause()

// Call makes a system call on purpose: the way from a goroutine into the nucleus. nr is one of
// the nucleus's private numbers. Any goroutine; it may move to another CPU meanwhile.
func Call(nr, a0, a1, a2, a3, a4, a5 uint64) uint64

// idle is defined in entry.s; it returns the interrupt's vector.
func idle() (vector uint64)
