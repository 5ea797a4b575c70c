package abi

import (
	"encoding/binary"
	"errors"
)

// The rt signal frame (arch/x86/include/asm/sigframe.h, uapi/asm/sigcontext.h):
//
//	  0  pretcode: the restorer, popped by the handler's RET
//	  8  uc_flags, uc_link
//	 24  uc_stack {sp, flags, size}
//	 48  uc_mcontext: struct sigcontext, 256 bytes
//	304  uc_sigmask
//	312  siginfo, 128 bytes
//
// The XSAVE image lies above it, 64-byte aligned.
const (
	frameUC      = 8
	frameStack   = frameUC + 16
	frameRegs    = frameUC + 40
	frameMask    = frameRegs + 256
	frameInfo    = frameMask + 8
	frameSize    = frameInfo + 128
	redZone      = 128
	ucFlags      = 1 | 2 | 4 // UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS
	legacySize   = 512
	xsaveHeader  = 64
	xstateMagic1 = 0x46505853
	xstateMagic2 = 0x46505845
	swReserved   = 464 // of struct _fpx_sw_bytes in the legacy area

	saRestorer = 0x04000000

	flagCF, flagPF, flagAF, flagZF, flagSF = 1 << 0, 1 << 2, 1 << 4, 1 << 6, 1 << 7
	flagTF, flagDF, flagOF, flagRF, flagAC = 1 << 8, 1 << 10, 1 << 11, 1 << 16, 1 << 18
	flagIF, flagFixed                      = 1 << 9, 1 << 1
	flagsRestored                          = flagCF | flagPF | flagAF | flagZF | flagSF | flagTF | flagDF | flagOF | flagRF | flagAC

	userCS, userDS = 0x33, 0x2b
)

// Errors of frames.
var (
	ErrNoRestorer = errors.New("signal action without SA_RESTORER")
	ErrFrame      = errors.New("signal frame is not valid")
)

// Stack is a stack_t.
type Stack struct {
	SP    uint64
	Flags int32
	Size  uint64
}

// Delivery is what a signal frame is made of.
type Delivery struct {
	Signal   int
	Info     [128]byte // siginfo_t
	Handler  uint64
	Flags    uint64 // SA_*
	Restorer uint64
	Mask     uint64 // the mask that sigreturn restores
	Top      uint64 // where the frame may begin: the user's SP or the top of the alternate stack
	OnAlt    bool   // Top is the top of the alternate stack (no red zone there)
	Alt      Stack  // stored in uc_stack
	Vector   []byte // XSAVE image, standard format
	// Fault describes the exception behind the signal.
	Fault Fault
	// Room is memory that the frame may be made in, FrameSize of it at best: it is the frame's until the next use of Room.
	Room []byte
}

// Fault is the part of the machine context that describes an exception.
type Fault struct {
	Addr  uint64 // CR2
	Trap  uint64 // vector
	Error uint64
}

// FrameSize is the most that a frame takes with a vector state of n bytes: AT_MINSIGSTKSZ.
func FrameSize(n int) uint64 { return uint64(frameSize + redZone + n + 4 + 64 + 16) }

// SignalFrame computes the frame of a signal: its bytes, where they go, and the registers with
// which the handler starts. The user's registers are r.
func SignalFrame(r *Regs, d *Delivery) (frame []byte, addr uint64, out Regs, err error) {
	if d.Flags&saRestorer == 0 {
		return nil, 0, Regs{}, ErrNoRestorer
	}
	sp := d.Top
	if !d.OnAlt {
		sp -= redZone
	}
	vector := len(d.Vector)
	fp := uint64(0)
	end := sp
	if vector >= legacySize+xsaveHeader {
		fp = (sp - uint64(vector) - 4) &^ 63
		sp = fp
		end = fp + uint64(vector) + 4
	} else if vector >= legacySize {
		fp = (sp - uint64(legacySize)) &^ 63
		sp = fp
		end = fp + legacySize
	}
	addr = (sp-frameSize)&^15 - 8
	frame = take(&d.Room, int(end-addr))
	le := binary.LittleEndian
	le.PutUint64(frame[0:], d.Restorer)
	le.PutUint64(frame[frameUC:], ucFlags)
	putStack(frame[frameStack:], d.Alt)
	for i, v := range []uint64{
		r.R8, r.R9, r.R10, r.R11, r.R12, r.R13, r.R14, r.R15, r.DI, r.SI, r.BP, r.BX, r.DX, r.AX, r.CX, r.SP, r.IP, r.Flags,
		userCS | userDS<<48, d.Fault.Error, d.Fault.Trap, d.Mask, d.Fault.Addr, fp,
	} {
		le.PutUint64(frame[frameRegs+8*i:], v)
	}
	le.PutUint64(frame[frameMask:], d.Mask)
	copy(frame[frameInfo:], d.Info[:])
	if fp != 0 {
		image := frame[fp-addr:]
		copy(image, d.Vector)
		sw := image[swReserved:legacySize]
		clear(sw)
		if vector >= legacySize+xsaveHeader {
			le.PutUint32(sw[0:], xstateMagic1)
			le.PutUint32(sw[4:], uint32(vector+4))
			le.PutUint64(sw[8:], le.Uint64(d.Vector[legacySize:])|3)
			le.PutUint32(sw[16:], uint32(vector))
			le.PutUint32(image[vector:], xstateMagic2)
		}
	}
	out = *r
	out.IP, out.SP = d.Handler, addr
	out.DI, out.SI, out.DX, out.AX = uint64(d.Signal), addr+frameInfo, addr+frameUC, 0
	out.Flags &^= flagDF | flagTF | flagRF
	out.OrigAX = ^uint64(0)
	return frame, addr, out, nil
}

// Saved is what sigreturn restores.
type Saved struct {
	Regs   Regs
	Mask   uint64
	Alt    Stack
	Vector []byte // nil: initial state
}

// ReadSignalFrame reads the frame under the stack pointer of r back. read copies user memory in
// and vectorSize is the size of the machine's XSAVE image. What comes back is safe to load: flags
// and selectors are forced to user values; the vector image is not checked here.
// What room has no place for is allocated; Saved.Vector may lie in it.
func ReadSignalFrame(r *Regs, vectorSize int, room []byte, read func(addr uint64, b []byte) error) (s Saved, err error) {
	// The handler's RET has popped pretcode.
	addr := r.SP - 8
	frame := take(&room, frameSize)
	if err := read(addr, frame); err != nil {
		return Saved{}, err
	}
	le := binary.LittleEndian
	s = Saved{Regs: *r, Mask: le.Uint64(frame[frameMask:]), Alt: getStack(frame[frameStack:])}
	g := &s.Regs
	for i, p := range []*uint64{
		&g.R8, &g.R9, &g.R10, &g.R11, &g.R12, &g.R13, &g.R14, &g.R15, &g.DI, &g.SI, &g.BP, &g.BX, &g.DX, &g.AX, &g.CX, &g.SP, &g.IP, &g.Flags,
	} {
		*p = le.Uint64(frame[frameRegs+8*i:])
	}
	g.Flags = r.Flags&^flagsRestored | g.Flags&flagsRestored | flagIF | flagFixed
	g.CS, g.SS, g.OrigAX = userCS, userDS, ^uint64(0)
	fp := le.Uint64(frame[frameRegs+8*23:])
	if fp == 0 {
		return s, nil
	}
	legacy := take(&room, legacySize)
	if err := read(fp, legacy); err != nil {
		return Saved{}, err
	}
	s.Vector = take(&room, max(vectorSize, legacySize+xsaveHeader))
	copy(s.Vector, legacy)
	sw := legacy[swReserved:]
	size := int(le.Uint32(sw[16:]))
	if le.Uint32(sw) == xstateMagic1 && size >= legacySize+xsaveHeader && size <= vectorSize && int(le.Uint32(sw[4:])) >= size+4 {
		var magic [4]byte
		if err := read(fp+uint64(size), magic[:]); err != nil {
			return Saved{}, err
		}
		if le.Uint32(magic[:]) == xstateMagic2 {
			if err := read(fp+legacySize, s.Vector[legacySize:size]); err != nil {
				return Saved{}, err
			}
			// Components the frame says nothing about are initial.
			le.PutUint64(s.Vector[legacySize:], le.Uint64(s.Vector[legacySize:])&le.Uint64(sw[8:]))
			clear(s.Vector[swReserved:legacySize])
			return s, nil
		}
	}
	// A frame with x87 and SSE state only.
	clear(s.Vector[swReserved:legacySize])
	le.PutUint64(s.Vector[legacySize:], 3)
	return s, nil
}

// take cuts n zeroed bytes off room, or makes them when there are not as many.
func take(room *[]byte, n int) []byte {
	if len(*room) < n {
		return make([]byte, n)
	}
	b := (*room)[:n:n]
	*room = (*room)[n:]
	clear(b)
	return b
}

func putStack(b []byte, s Stack) {
	binary.LittleEndian.PutUint64(b, s.SP)
	binary.LittleEndian.PutUint32(b[8:], uint32(s.Flags))
	binary.LittleEndian.PutUint64(b[16:], s.Size)
}

func getStack(b []byte) Stack {
	return Stack{binary.LittleEndian.Uint64(b), int32(binary.LittleEndian.Uint32(b[8:])), binary.LittleEndian.Uint64(b[16:])}
}
