package ring0

import (
	"sync/atomic"
	"unsafe"
)

// Regs are the user's general registers. The first part has Frame's layout.
type Regs struct {
	X      [31]uint64
	SP     uint64
	PC     uint64
	PState uint64
	TLS    uint64 // TPIDR_EL0
	OrigX0 uint64 // x0 at the system call
	Nr     uint64 // system call number (x8); ^0 after anything but a system call
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
	EventAway                       // never here: entering the kernel saves all of the vector state
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
	Addr    uint64 // page fault, alignment: the address (GVA); other exceptions: the instruction
}

// UserContext is the state of one user thread while it is not in user mode. It lives in a
// frame of its own outside the Go heap (nucleus.NewUserContext), one page.
//
// Only the goroutine that calls RunUser on it may touch it, except Interrupt.
type UserContext struct {
	regs Regs

	root     uint64 // page table root, GPA
	kick     uint32 // Interrupt was called; taken back by RunUser
	cpu      uint32 // 1 + number of the CPU that is in user mode with it, 0: none
	syndrome uint64 // ESR_EL1 of the trap that ended user mode, or syndromeInterrupt
	fault    uint64 // FAR_EL1
	allowed  uint64 // CPUs that may run it, bit n for CPU n
	last     uint32 // CPU that was in user mode with it last
	// identified says that identity holds, see SetIdentity.
	identified uint32
	identity   Identity
	_          [userVectorOffset - unsafe.Sizeof(Regs{}) - 48 - unsafe.Sizeof(Identity{})]byte

	vector [userContextSize - userVectorOffset]byte // struct user_fpsimd_state
}

const (
	userVectorOffset = 512
	userContextSize  = 4096

	// syndromeInterrupt is not an ESR: bits 63 to 57 of the register are zero.
	syndromeInterrupt = 1 << 63
	syndromeElsewhere = 1 << 62
)

// Regs are the general registers, to read or change between two RunUser calls.
func (c *UserContext) Regs() *Regs { return &c.regs }

// Syscall is the number and the arguments of the system call that ended RunUser.
func (c *UserContext) Syscall() (nr uint64, args [6]uint64) {
	r := &c.regs
	return r.Nr, [6]uint64{r.OrigX0, r.X[1], r.X[2], r.X[3], r.X[4], r.X[5]}
}

// SetReturn sets a system call's result: a value or a negated errno.
func (c *UserContext) SetReturn(v int64) { c.regs.X[0] = uint64(v) }

// Result is where SetReturn stores.
func (c *UserContext) Result() *uint64 { return &c.regs.X[0] }

// Return is what SetReturn set.
func (c *UserContext) Return() int64 { return int64(c.regs.X[0]) }

// RestartSyscall makes the user execute the same system call again.
func (c *UserContext) RestartSyscall() {
	c.regs.X[0] = c.regs.OrigX0
	c.regs.PC -= 4
}

// PC is the user's instruction pointer.
func (c *UserContext) PC() uint64 { return c.regs.PC }

// SetPC sets it. An address outside user space ends the next RunUser with EventPageFault.
func (c *UserContext) SetPC(v uint64) { c.regs.PC = v }

// SP is the user's stack pointer.
func (c *UserContext) SP() uint64 { return c.regs.SP }

// SetSP sets it.
func (c *UserContext) SetSP(v uint64) { c.regs.SP = v }

// TLS is the user's thread pointer: TPIDR_EL0.
func (c *UserContext) TLS() uint64 { return c.regs.TLS }

// SetTLS sets it.
func (c *UserContext) SetTLS(v uint64) { c.regs.TLS = v }

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
	c.regs = Regs{PC: entry, SP: sp, PState: pstateEL0t, Nr: ^uint64(0)}
	clear(c.vector[:])
}

// CopyFrom is fork(2)'s: registers, TLS and vector state of another context, not its root.
func (c *UserContext) CopyFrom(o *UserContext) {
	c.regs = o.regs
	copy(c.vector[:vectorSize], o.vector[:vectorSize])
}

// VectorState is q0 to q31, FPSR and FPCR as struct user_fpsimd_state has them, VectorSize bytes.
func (c *UserContext) VectorState() []byte { return c.vector[:vectorSize] }

// SetVectorState loads state that a user may have forged. It reports false, and changes
// nothing, when b is too short for all registers.
func (c *UserContext) SetVectorState(b []byte) bool {
	if len(b) < vectorSize {
		return false
	}
	copy(c.vector[:vectorSize], b)
	return true
}

// SaveVector, VectorCPU and DropVector: VectorState is complete at any time here.
func (c *UserContext) SaveVector() bool { return true }

// VectorCPU says that no CPU has any of the vector state in its registers.
func (c *UserContext) VectorCPU() int { return -1 }

// DropVector has nothing to forget.
func (c *UserContext) DropVector() {}

// Loaded is 1 + the number of the CPU that has been left for the kernel with this context and has entered user mode with no other since, or 0: that is
// not known, as always here.
func (c *UserContext) Loaded() *uint32 { return &notLoaded }

var notLoaded uint32

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
	atomic.StoreUint32(&c.kick, 1)
	return int(atomic.LoadUint32(&c.cpu)) - 1
}
