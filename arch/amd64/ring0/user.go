//go:build amd64

package ring0

import (
	"sync/atomic"
	"unsafe"
)

// Regs are the user's general registers.
type Regs struct {
	R15, R14, R13, R12, BP, BX uint64
	R11, R10, R9, R8           uint64
	AX, CX, DX, SI, DI         uint64
	IP, CS, Flags, SP, SS      uint64
	OrigAX                     uint64 // system call number; ^0 after anything but a system call
	FSBase, GSBase             uint64
}

// EventKind is why RunUser returned.
type EventKind uint32

// Kinds of Event.
const (
	EventInterrupt EventKind = iota // an interrupt or a kick: run again, after a look at what is pending
	EventSyscall                    // ctx.Syscall says which
	EventPageFault                  // Addr, Access, Present
	EventException                  // any other exception: Event.Signal says what Linux makes of it
	EventElsewhere                  // user mode was not entered: this is not an allowed CPU
	EventAway                       // user mode was not entered: SaveVector on CPU VectorCPU, then again
)

// Access is what a faulting instruction wanted.
type Access uint32

// Kinds of Access.
const (
	AccessRead Access = iota
	AccessWrite
	AccessExec
)

// Event is why user mode (RunUser) or kernel Go code (Handlers.Exception) stopped.
type Event struct {
	Kind    EventKind
	Access  Access
	Vector  uint32 // amd64: exception vector; arm64: ESR exception class
	Present bool   // page fault: the page is there, the protection forbids the access
	User    bool   // came from user mode
	Code    uint64 // amd64: error code; arm64: ESR
	Addr    uint64 // page fault: the address (GVA); other exceptions: the instruction
}

// UserContext is the state of one user thread while it is not in user mode. It lives in a
// frame of its own outside the Go heap (nucleus.NewUserContext), one page.
//
// Only the goroutine that calls RunUser on it may touch it, except Interrupt and Running.
type UserContext struct {
	regs Regs

	root  uint64 // page table root, GPA
	kick  uint32 // Interrupt was called; taken back by RunUser
	cpu   uint32 // 1 + number of the CPU that is in user mode with it, 0: none
	event Event

	allowed uint64 // CPUs that may run it, bit n for CPU n
	last    uint32 // CPU that was in user mode with it last
	// identified says that identity holds, see SetIdentity.
	identified uint32
	identity   Identity
	live       uint32 // 1 + number of the CPU that has the rest of the vector state in its registers, 0: it is in memory
	_          [userVectorOffset - unsafe.Sizeof(Regs{}) - 36 - unsafe.Sizeof(Event{}) - unsafe.Sizeof(Identity{})]byte

	vector [userContextSize - userVectorOffset]byte // XSAVE area, standard format
}

const (
	userVectorOffset = 512
	userContextSize  = 4096
)

// Regs are the general registers, to read or change between two RunUser calls.
func (c *UserContext) Regs() *Regs { return &c.regs }

// Syscall is the number and the arguments of the system call that ended RunUser.
func (c *UserContext) Syscall() (nr uint64, args [6]uint64) {
	r := &c.regs
	return r.OrigAX, [6]uint64{r.DI, r.SI, r.DX, r.R10, r.R8, r.R9}
}

// SetReturn sets a system call's result: a value or a negated errno.
func (c *UserContext) SetReturn(v int64) { c.regs.AX = uint64(v) }

// Result is where SetReturn stores.
func (c *UserContext) Result() *uint64 { return &c.regs.AX }

// Return is what SetReturn set.
func (c *UserContext) Return() int64 { return int64(c.regs.AX) }

// RestartSyscall makes the user execute the same system call again.
func (c *UserContext) RestartSyscall() {
	c.regs.AX = c.regs.OrigAX
	c.regs.IP -= 2 // SYSCALL is two bytes
}

// PC is the user's instruction pointer.
func (c *UserContext) PC() uint64 { return c.regs.IP }

// SetPC sets it. An address outside user space ends the next RunUser with EventException.
func (c *UserContext) SetPC(v uint64) { c.regs.IP = v }

// SP is the user's stack pointer.
func (c *UserContext) SP() uint64 { return c.regs.SP }

// SetSP sets it.
func (c *UserContext) SetSP(v uint64) { c.regs.SP = v }

// TLS is the user's thread pointer: the FS base.
func (c *UserContext) TLS() uint64 { return c.regs.FSBase }

// SetTLS sets it. Only user addresses are taken: v is cut to 47 bits.
func (c *UserContext) SetTLS(v uint64) { c.regs.FSBase = v & (1<<47 - 1) }

// Identity is what the system calls answer that say who the caller is.
type Identity struct {
	PID                  uint32
	_                    uint32 // getppid's place on arm64: it can change at any time
	UID, EUID, GID, EGID uint32
	TID                  uint32
}

// SetIdentity lets the entry code answer getpid, gettid and the like itself, without leaving assembly; nil ends that. The owner
// says it again whenever an answer changes.
func (c *UserContext) SetIdentity(id *Identity) {
	if c.identified = 0; id != nil {
		c.identity, c.identified = *id, 1
	}
}

// SetRoot sets the page table root (GPA) that RunUser loads.
func (c *UserContext) SetRoot(phys uint64) { c.root = phys }

// Root is the page table root.
func (c *UserContext) Root() uint64 { return c.root }

// Reset is execve(2)'s: all registers zero, vector state initial, except entry point and stack.
func (c *UserContext) Reset(entry, sp uint64) {
	c.DropVector()
	c.regs = Regs{IP: entry, SP: sp, CS: userCS, SS: userDS, Flags: flagsUser, OrigAX: ^uint64(0)}
	initVector(c.vector[:])
}

// CopyFrom is fork(2)'s: registers, TLS and vector state of another context, which is saved (SaveVector), not its root.
func (c *UserContext) CopyFrom(o *UserContext) {
	c.DropVector()
	c.regs = o.regs
	c.vector = o.vector
}

// VectorState is the XSAVE area (Intel SDM volume 1, 13.4), VectorSize bytes, as a signal frame
// carries it. What comes from a user must go through SetVectorState. It means something when SaveVector has answered true.
func (c *UserContext) VectorState() []byte { return c.vector[:vectorSize] }

// SetVectorState loads state that a user may have forged: it keeps the components that exist
// and clears every reserved field, so that XRSTOR cannot fault. It reports false, and changes nothing,
// when b is shorter than the legacy area and the header.
func (c *UserContext) SetVectorState(b []byte) bool {
	if len(b) < xsaveLegacy+xsaveHeaderSize {
		return false
	}
	c.DropVector() // before: another CPU may be storing it
	return sanitizeVector(c.vector[:vectorSize], b)
}

// Loaded is 1 + the number of the CPU that has been left for the kernel with this context and has entered user mode with no other since, or 0: that is
// not known. Any value may be stale but for the goroutine that runs the context.
func (c *UserContext) Loaded() *uint32 { return &c.live }

// SetAllowed sets the CPUs on which RunUser enters user mode, bit n for CPU n; all at first.
func (c *UserContext) SetAllowed(cpus uint64) { c.allowed = cpus }

// LastCPU is the CPU that was in user mode with it last.
func (c *UserContext) LastCPU() int { return int(c.last) }

// Interrupting says whether a call of Interrupt has not ended user mode yet. Any goroutine.
func (c *UserContext) Interrupting() bool {
	return atomic.LoadUint32(&c.kick) != 0 && atomic.LoadUint32(&c.cpu) != 0
}

// Interrupt makes RunUser of this context return (or not enter user mode at all) with
// EventInterrupt. It reports which CPU has to be sent an IPI, or -1. Any goroutine.
func (c *UserContext) Interrupt() (cpu int) {
	atomic.StoreUint32(&c.kick, 1) // an XCHG: ordered before the load
	return int(atomic.LoadUint32(&c.cpu)) - 1
}

// EnterUser runs user mode until it traps and says whether that was a system call, and nobody kicked; else Left says why. Any goroutine; one at a time for a context. See the
// package comment.
func EnterUser(c *UserContext) (syscall bool) {
	enterUser(c)
	return c.event.Vector == vectorSyscall && c.kick == 0
}

// Left says why EnterUser, which has answered false, came back.
func Left(c *UserContext) Event {
	if c.event.Vector == vectorAway {
		return Event{Kind: EventAway, User: true} // a kick is for the next entry
	}
	atomic.StoreUint32(&c.kick, 0) // the caller looks at what is pending after this return; a kick that comes now is for the next entry
	e := c.event
	e.User = true
	switch {
	case e.Vector == vectorSyscall:
		return Event{Kind: EventSyscall, User: true}
	case e.Vector == vectorElsewhere:
		e.Kind = EventElsewhere
	case e.Vector >= 32:
		e.Kind = EventInterrupt
	default:
		e.classify(c.regs.IP)
	}
	return e
}

// InitUserContext makes a zeroed page of 4096 bytes outside the Go heap a context: all registers zero,
// vector state initial, kernel root.
func InitUserContext(page uintptr) *UserContext {
	c := (*UserContext)(pointer(uint64(page)))
	c.root, c.allowed = kernelRoot, ^uint64(0)
	c.Reset(0, 0)
	return c
}
