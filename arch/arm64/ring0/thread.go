package ring0

// Frame is the general register state of interrupted or calling code. The entry code stores
// x0 to x30 at 8*n, whatever the field names; TestLayout pins that.
type Frame struct {
	X    [31]uint64
	SP   uint64
	ELR  uint64 // where it was, or goes on
	SPSR uint64 // PSTATE there
}

// How a thread is resumed.
const (
	// resumeCall: it made a system call (or returns from RunUser): vector state is dead.
	resumeCall = iota
	// resumeTrap: it was interrupted; every register is restored.
	resumeTrap
)

// Context is the saved state of one runtime thread while it does not run. The nucleus keeps
// it in a fixed array; ring0 reads and writes it with the thread's CPU in the nucleus.
type Context struct {
	Frame  Frame
	TLS    uint64 // unused: without cgo the runtime has no TLS base on arm64
	Vector uint64 // address of VectorSize bytes, 64-byte aligned, for the vector state
	Resume uint64 // resumeCall or resumeTrap
}

// SyscallNumber is the number of the system call that the thread has just made.
func (c *Context) SyscallNumber() uint64 { return c.Frame.X[8] }

// Arg is argument i (0 to 5) of that call.
func (c *Context) Arg(i int) uint64 { return c.Frame.X[uint(i)&7] }

// SetResult is what the system call returns: a value or a negated errno.
func (c *Context) SetResult(v int64) { c.Frame.X[0] = uint64(v) }

// Result is what SetResult set.
func (c *Context) Result() int64 { return int64(c.Frame.X[0]) }

// PC is where the thread is.
func (c *Context) PC() uint64 { return c.Frame.ELR }

// SP is the stack pointer.
func (c *Context) SP() uint64 { return c.Frame.SP }

// FramePointer starts the chain of frames for a backtrace.
func (c *Context) FramePointer() uint64 { return c.Frame.X[29] }

// Goroutine is the register that holds g in Go code.
func (c *Context) Goroutine() uint64 { return c.Frame.X[28] }

// InitClone prepares c as the child of a clone(2) that parent has just called: the same
// registers, result 0, the stack given in the call. There is no TLS base to set.
func (c *Context) InitClone(parent *Context, stack, tls uint64, setTLS bool) {
	c.Frame = parent.Frame
	c.Frame.X[0] = 0
	c.Frame.SP = stack
	c.Resume = resumeCall
}

// ArchSyscall serves the calls that only this architecture has: none.
func (c *Context) ArchSyscall() (result int64, handled bool) { return 0, false }

// CloneTLS is the argument of the clone(2) in c that holds the TLS base.
func (c *Context) CloneTLS() uint64 { return c.Frame.X[3] }

// EpollEventSize and EpollDataOffset are the layout of struct epoll_event (packed on amd64 only).
const (
	EpollEventSize  = 16
	EpollDataOffset = 8
)

// PSTATE as SPSR_EL1 holds it (Arm ARM C5.2.19).
const (
	pstateEL0t = 0x0
	pstateEL1t = 0x4
	pstateF    = 1 << 6
	pstateD    = 1 << 9
	pstatePAN  = 1 << 22

	// What the user may choose: NZCV, TCO, DIT, SSBS, BTYPE.
	pstateUserMask = 0xf<<28 | 1<<25 | 1<<24 | 1<<12 | 3<<10
)

// pstateKernel is kernel Go code's: debug exceptions and FIQ masked, IRQ and SError open. initFeatures
// adds PAN where the CPU has it.
var pstateKernel uint64 = pstateEL1t | pstateF | pstateD
