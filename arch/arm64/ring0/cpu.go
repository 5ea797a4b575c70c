//go:build arm64

package ring0

import _ "unsafe" // linkname

// Handlers is what the nucleus gives to ring0. See the package comment of arch/amd64/ring0 for the rules.
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

// cpu is the per-CPU area; TPIDR_EL1 points at it. The entry code uses it by the offsets in
// go_asm.h. Only the CPU itself writes it after PublishArea.
type cpu struct {
	index  uint64
	thread uint64 // *Context that runs, or will when the handler returns
	user   uint64 // *UserContext while in user mode
	userSP uint64 // stack pointer and address with which enterUser returns
	userPC uint64
	userG  uint64 // g of the goroutine that is in enterUser
	root   uint64 // table loaded in TTBR0_EL1, or about to be
	stack  uint64 // top of the nucleus stack: SP_EL1
	fatal  uint64 // top of the stack for Handlers.Fatal

	// asids caches TTBR0_EL1 values (root and ASID) by root, see memory.go. Other CPUs may
	// clear entries.
	asids    [asidSlots]uint64
	lastASID uint64

	fakeG  [64]uint64 // enough of a runtime.g: stack.lo, stack.hi, stackguard0, stackguard1, then zeros
	fatalG [64]uint64 // the same for the fatal stack
	frame  Frame      // registers at a fatal exception
	event  Event
}

// Index is the number of this CPU. From a goroutine it is a hint: the thread may move at any time.
func Index() int { return int(currentIndex()) }

// SetThread makes c the thread that this CPU resumes when the running handler returns.
func SetThread(c *Context) { setThread(c) }

// Idle halts until an interrupt comes, which it acknowledges. The caller holds no lock.
func Idle() (source uint64) {
	waitForInterrupt()
	return acknowledge()
}
