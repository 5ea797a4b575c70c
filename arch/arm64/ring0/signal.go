package ring0

import "unsafe"

// Signal is one signal about to be delivered to a thread of the runtime.
type Signal struct {
	Number, Code      int32
	Addr              uint64 // si_addr
	Handler, Restorer uint64
	Mask              uint64 // blocked signals, restored by rt_sigreturn
	AltBase, AltSize  uint64 // alternate stack; size 0: none
}

// signalFrame is what Linux puts on the stack (arch/arm64/kernel/signal.c, struct rt_sigframe): siginfo,
// ucontext, and in its reserved part the vector registers and an end mark. Linux
// reserves 4096 bytes there, of which it, too, writes only what is used.
type signalFrame struct {
	// siginfo
	number, errno, code, _ int32
	addr                   uint64
	_                      [104]byte
	// ucontext
	flags, link                 uint64
	stackSP, stackFlags, stackN uint64
	mask                        [16]uint64
	_                           uint64
	fault                       uint64
	frame                       Frame // sigcontext: regs, sp, pc, pstate
	_                           uint64
	// struct fpsimd_context; magic 0 when the vector registers were dead
	vectorMagic, vectorSize uint32
	fpsr, fpcr              uint32
	vector                  [512]byte
	endMagic, endSize       uint32
	_                       uint64
	// frame record, not part of the ABI: unwinders find the interrupted code through it
	recordFP, recordLR uint64
}

const (
	fpsimdMagic = 0x4650_8001
	fpsimdSize  = 528 // header included
)

func (c *Context) signalFrame(s *Signal) uint64 {
	top := c.Frame.SP
	if s.AltSize != 0 && (top <= s.AltBase || top > s.AltBase+s.AltSize) {
		top = s.AltBase + s.AltSize
	}
	return (top - uint64(unsafe.Sizeof(signalFrame{}))) &^ 15
}

// SignalStack is the memory that PushSignal writes: [lo, hi) has to be present.
func (c *Context) SignalStack(s *Signal) (lo, hi uint64) {
	lo = c.signalFrame(s)
	return lo, lo + uint64(unsafe.Sizeof(signalFrame{}))
}

// PushSignal makes the thread continue in the handler of s, with a frame from which
// PopSignal restores what it did before, vector state included. The Go runtime gives no
// restorer on arm64 (Linux has one in the vDSO): signalReturn serves.
func (c *Context) PushSignal(s *Signal) {
	at := c.signalFrame(s)
	f := (*signalFrame)(pointer(at))
	*f = signalFrame{
		number: s.Number, code: s.Code, addr: s.Addr,
		fault: s.Addr, frame: c.Frame, recordFP: c.Frame.X[29], recordLR: c.Frame.ELR,
	}
	f.mask[0] = s.Mask
	if c.Resume == resumeTrap {
		v := (*vectorRegisters)(pointer(c.Vector))
		f.vectorMagic, f.vectorSize = fpsimdMagic, fpsimdSize
		f.fpsr, f.fpcr = v.fpsr, v.fpcr
		f.vector = v.q
	}
	r := &c.Frame
	g := r.X[28] // the runtime's handler finds its g there
	*r = Frame{ELR: s.Handler, SP: at, SPSR: pstateKernel}
	r.X[0] = uint64(s.Number)
	r.X[1] = at
	r.X[2] = at + uint64(unsafe.Offsetof(f.flags))
	r.X[28] = g
	r.X[29] = at + uint64(unsafe.Offsetof(f.recordFP))
	r.X[30] = s.Restorer
	if s.Restorer == 0 {
		r.X[30] = signalReturnAddress()
	}
	c.Resume = resumeCall
}

// SignalFrame is the memory that PopSignal reads.
func (c *Context) SignalFrame() (lo, hi uint64) {
	return c.Frame.SP, c.Frame.SP + uint64(unsafe.Sizeof(signalFrame{}))
}

// PopSignal is rt_sigreturn(2): it restores the state below the handler, as the handler left
// it in the frame, and answers the signal mask to restore.
func (c *Context) PopSignal() (mask uint64) {
	f := (*signalFrame)(pointer(c.Frame.SP))
	c.Frame = f.frame
	c.Frame.SPSR = f.frame.SPSR&pstateUserMask | pstateKernel
	c.Resume = resumeCall
	if f.vectorMagic == fpsimdMagic {
		c.Resume = resumeTrap
		v := (*vectorRegisters)(pointer(c.Vector))
		v.q, v.fpsr, v.fpcr = f.vector, f.fpsr, f.fpcr
	}
	return f.mask[0]
}

// Signal is the signal that Linux sends for an exception, and its si_code (arch/arm64/mm/fault.c,
// arch/arm64/kernel/traps.c; page faults: SEGV_MAPERR or SEGV_ACCERR, unless the owner of the
// address space knows better).
func (e *Event) Signal() (number, code int32) {
	const (
		sigILL, sigTRAP, sigBUS, sigFPE, sigSEGV = 4, 5, 7, 8, 11

		illOpc, trapBrkpt, trapTrace, trapHwBkpt = 1, 1, 2, 4
		busAdrAln, busObjErr                     = 1, 3
		segvMapErr, segvAccErr                   = 1, 2
		kernelCode                               = 0x80
	)
	switch e.Vector {
	case ecInstrUser, ecInstr, ecDataUser, ecData:
		switch {
		case e.Kind == EventPageFault && e.Present:
			return sigSEGV, segvAccErr
		case e.Kind == EventPageFault:
			return sigSEGV, segvMapErr
		case e.Code&issFSCMask == fscAlignment:
			return sigBUS, busAdrAln
		}
		return sigBUS, busObjErr // external abort
	case ecPCAlign, ecSPAlign:
		return sigBUS, busAdrAln
	case ecBRK:
		return sigTRAP, trapBrkpt
	case ecStepUser:
		return sigTRAP, trapTrace
	case ecBreakUser, ecWatchUser:
		return sigTRAP, trapHwBkpt
	case ecFP64:
		return sigFPE, e.floatCode()
	case ecSError:
		return sigSEGV, kernelCode
	}
	return sigILL, illOpc
}

// floatCode is si_code of a trapped floating-point exception, from the lowest flag in ESR_EL1.
func (e *Event) floatCode() int32 {
	const (
		valid                                                      = 1 << 23
		fltDiv, fltOvf, fltUnd, fltRes, fltInv, fltUnknown, lowest = 3, 4, 5, 6, 7, 14, 5
	)
	if e.Code&valid == 0 {
		return fltUnknown
	}
	for i, code := range [lowest]int32{fltInv, fltDiv, fltOvf, fltUnd, fltRes} {
		if e.Code>>i&1 != 0 {
			return code
		}
	}
	return fltUnknown
}
