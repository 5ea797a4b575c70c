//go:build amd64

package ring0

import (
	"syscall"
	"unsafe"
)

// Signal is one signal about to be delivered to a thread of the runtime.
type Signal struct {
	Number, Code      int32
	Addr              uint64 // si_addr
	Handler, Restorer uint64
	Mask              uint64 // blocked signals, restored by rt_sigreturn
	AltBase, AltSize  uint64 // alternate stack; size 0: none
}

// signalFrame is what Linux puts on the stack (arch/x86/include/asm/sigframe.h, struct rt_sigframe),
// as far as the Go runtime reads it.
type signalFrame struct {
	restorer uint64
	// ucontext
	flags, link                 uint64
	stackSP, stackFlags, stackN uint64
	r8, r9, r10, r11            uint64
	r12, r13, r14, r15          uint64
	di, si, bp, bx              uint64
	dx, ax, cx, sp, ip          uint64
	eflags, selectors           uint64
	err, trap, oldmask, cr2     uint64
	vector                      uint64 // fpstate; 0: the vector registers were dead
	_                           [8]uint64
	mask                        [16]uint64
	// siginfo
	number, errno, code, _ int32
	addr                   uint64
	_                      [104]byte
}

func (c *Context) signalFrame(s *Signal) uint64 {
	const redZone = 128
	top := c.Frame.SP - redZone
	if s.AltSize != 0 && (c.Frame.SP <= s.AltBase || c.Frame.SP > s.AltBase+s.AltSize) {
		top = s.AltBase + s.AltSize
	}
	top = (top - uint64(vectorSize)) &^ 63
	// At the entry of a function SP is 8 below a multiple of 16.
	return (top-uint64(unsafe.Sizeof(signalFrame{})))&^15 - 8
}

// SignalStack is the memory that PushSignal writes: [lo, hi) has to be present.
func (c *Context) SignalStack(s *Signal) (lo, hi uint64) {
	lo = c.signalFrame(s)
	return lo, (lo+uint64(unsafe.Sizeof(signalFrame{}))+63)&^63 + uint64(vectorSize)
}

// PushSignal makes the thread continue in the handler of s, with a frame from which
// PopSignal restores what it did before, vector state included.
func (c *Context) PushSignal(s *Signal) {
	at := c.signalFrame(s)
	f := (*signalFrame)(pointer(at))
	r := &c.Frame
	*f = signalFrame{
		restorer: s.Restorer, r8: r.R8, r9: r.R9, r10: r.R10, r11: r.R11, r12: r.R12, r13: r.R13, r14: r.R14, r15: r.R15,
		di: r.DI, si: r.SI, bp: r.BP, bx: r.BX, dx: r.DX, ax: r.AX, cx: r.CX, sp: r.SP, ip: r.IP, eflags: r.Flags,
		cr2: s.Addr, number: s.Number, code: s.Code, addr: s.Addr,
	}
	f.mask[0] = s.Mask
	if c.Resume == resumeTrap {
		f.vector = (at + uint64(unsafe.Sizeof(*f)) + 63) &^ 63
		copyVector(f.vector, c.Vector)
	}
	*r = Frame{
		IP: s.Handler, SP: at, CS: kernelCS, SS: kernelDS, Flags: flagsKernel, BP: r.BP, R14: r.R14,
		DI: uint64(s.Number), SI: at + uint64(unsafe.Offsetof(f.number)), DX: at + uint64(unsafe.Offsetof(f.flags)),
	}
	c.Resume = resumeCall
}

// SignalFrame is the memory that PopSignal reads.
func (c *Context) SignalFrame() (lo, hi uint64) {
	lo = c.Frame.SP - 8
	return lo, (lo+uint64(unsafe.Sizeof(signalFrame{}))+63)&^63 + uint64(vectorSize)
}

// PopSignal is rt_sigreturn(2): it restores the state below the handler, as the handler left
// it in the frame, and answers the signal mask to restore.
func (c *Context) PopSignal() (mask uint64) {
	f := (*signalFrame)(pointer(c.Frame.SP - 8))
	c.Frame = Frame{
		R15: f.r15, R14: f.r14, R13: f.r13, R12: f.r12, BP: f.bp, BX: f.bx, R11: f.r11, R10: f.r10, R9: f.r9, R8: f.r8,
		AX: f.ax, CX: f.cx, DX: f.dx, SI: f.si, DI: f.di, IP: f.ip, SP: f.sp, CS: kernelCS, SS: kernelDS,
		Flags: f.eflags&flagsUserMask | flagsKernel,
	}
	c.Resume = resumeCall
	if f.vector != 0 {
		c.Resume = resumeTrap
		copyVector(c.Vector, f.vector)
	}
	return f.mask[0]
}

func copyVector(dst, src uint64) {
	copy(unsafe.Slice((*byte)(pointer(dst)), vectorSize), unsafe.Slice((*byte)(pointer(src)), vectorSize))
}

// Signal is the signal that Linux sends for an exception, and its si_code
// (arch/x86/kernel/traps.c; page faults: SEGV_MAPERR or SEGV_ACCERR, unless the owner of the
// address space knows better).
func (e *Event) Signal() (number, code int32) {
	const (
		kernelCode = 0x80 // SI_KERNEL
		fpeIntDiv  = 1
		fpeFltInv  = 7
		illOpN     = 2
		trapBrkpt  = 1
		trapTrace  = 2
		busAdrAln  = 1
		segvMapErr = 1
		segvAccErr = 2
	)
	switch e.Vector {
	case vectorDE:
		return int32(syscall.SIGFPE), fpeIntDiv
	case vectorDB:
		return int32(syscall.SIGTRAP), trapTrace
	case vectorBP:
		return int32(syscall.SIGTRAP), kernelCode
	case vectorUD:
		return int32(syscall.SIGILL), illOpN
	case vectorMF, vectorXM:
		return int32(syscall.SIGFPE), fpeFltInv
	case vectorAC:
		return int32(syscall.SIGBUS), busAdrAln
	case vectorSS:
		return int32(syscall.SIGBUS), kernelCode
	case vectorPF:
		if e.Present {
			return int32(syscall.SIGSEGV), segvAccErr
		}
		return int32(syscall.SIGSEGV), segvMapErr
	}
	return int32(syscall.SIGSEGV), kernelCode
}
