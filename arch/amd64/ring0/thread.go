//go:build amd64

package ring0

import (
	"syscall"
	"unsafe"
)

// Frame is the general register state of interrupted or calling code, in the order in which
// the entry code stores it. The last five words are what IRETQ loads (AMD64 APM volume 2, 8.9.3).
type Frame struct {
	R15, R14, R13, R12, BP, BX uint64
	R11, R10, R9, R8           uint64
	AX, CX, DX, SI, DI         uint64
	IP, CS, Flags, SP, SS      uint64
}

// How a thread is resumed.
const (
	// resumeCall: it made a system call (or returns from RunUser); vector state is dead, RCX and R11 are too.
	resumeCall = iota
	// resumeTrap: it was interrupted; every register is restored.
	resumeTrap
)

// Context is the saved state of one runtime thread while it does not run. The nucleus keeps
// it in a fixed array; ring0 reads and writes it with the thread's CPU in the nucleus.
type Context struct {
	Frame  Frame
	TLS    uint64 // FS base: the runtime keeps g at -8(FS)
	Vector uint64 // address of VectorSize bytes, 64-byte aligned, for the vector state
	Resume uint64 // resumeCall or resumeTrap
}

// SyscallNumber is the number of the system call that the thread has just made.
func (c *Context) SyscallNumber() uint64 { return c.Frame.AX }

// Arg is argument i (0 to 5) of that call.
func (c *Context) Arg(i int) uint64 {
	switch i {
	case 0:
		return c.Frame.DI
	case 1:
		return c.Frame.SI
	case 2:
		return c.Frame.DX
	case 3:
		return c.Frame.R10
	case 4:
		return c.Frame.R8
	default:
		return c.Frame.R9
	}
}

// SetResult is what the system call returns: a value or a negated errno.
func (c *Context) SetResult(v int64) { c.Frame.AX = uint64(v) }

// Result is what SetResult set.
func (c *Context) Result() int64 { return int64(c.Frame.AX) }

// PC and SP are where the thread is.
func (c *Context) PC() uint64 { return c.Frame.IP }

// SP is the stack pointer.
func (c *Context) SP() uint64 { return c.Frame.SP }

// FramePointer starts the chain of frames for a backtrace.
func (c *Context) FramePointer() uint64 { return c.Frame.BP }

// InitRuntime prepares thread 0: it will enter the Go runtime's own entry point with the
// argument block (argc, argv, envp, auxv) at sp.
func (c *Context) InitRuntime(sp uint64) {
	c.Frame = Frame{IP: runtimeEntry(), SP: sp, CS: kernelCS, SS: kernelDS, Flags: flagsKernel}
	c.Resume = resumeCall
}

// Goroutine is the register that holds g in Go code.
func (c *Context) Goroutine() uint64 { return c.Frame.R14 }

// InitClone prepares c as the child of a clone(2) that parent has just called: the same
// registers, result 0, the stack and TLS given in the call.
func (c *Context) InitClone(parent *Context, stack, tls uint64, setTLS bool) {
	c.Frame = parent.Frame
	c.Frame.AX = 0
	c.Frame.SP = stack
	c.TLS = parent.TLS
	if setTLS {
		c.TLS = tls
	}
	c.Resume = resumeCall
}

// ArchSyscall serves the calls that only this architecture has. handled is false for others.
func (c *Context) ArchSyscall() (result int64, handled bool) {
	const archSetFS = 0x1002
	if c.Frame.AX != syscall.SYS_ARCH_PRCTL {
		return 0, false
	}
	if c.Frame.DI != archSetFS {
		return -int64(syscall.EINVAL), true
	}
	c.TLS = c.Frame.SI
	return 0, true
}

// CloneTLS is the argument of the clone(2) in c that holds the TLS base.
func (c *Context) CloneTLS() uint64 { return c.Frame.R8 }

// EpollEventSize and EpollDataOffset are the layout of struct epoll_event (packed on amd64 only).
const (
	EpollEventSize  = 12
	EpollDataOffset = 4
)

var _ = unsafe.Sizeof(Context{})
