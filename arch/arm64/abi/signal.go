package abi

import (
	"encoding/binary"
	"errors"
)

// The rt signal frame (arch/arm64/kernel/signal.c, uapi/asm/sigcontext.h):
//
//	  0  siginfo, 128 bytes
//	128  uc_flags, uc_link
//	144  uc_stack {sp, flags, size}
//	168  uc_sigmask, padded to 128 bytes
//	304  uc_mcontext: fault_address, regs[31], sp, pc, pstate
//	592  records: fpsimd_context, terminator; 4096 bytes
//
// A frame record {fp, lr} lies above it, so that handlers can be unwound.
const (
	frameUC      = 128
	frameStack   = frameUC + 16
	frameMask    = frameUC + 40
	frameContext = frameUC + 176
	frameRecords = frameContext + 288
	recordsSize  = 4096
	frameSize    = frameRecords + recordsSize
	frameRecord  = 16

	fpsimdMagic = 0x46508001
	fpsimdSize  = 528
	saRestorer  = 0x04000000

	// VectorSize is the size of the vector state: V0 to V31, FPSR, FPCR.
	VectorSize = 512 + 8

	pstateFlags = 0xf0000000                                               // NZCV
	pstateUser  = pstateFlags | 1<<12 /* SSBS */ | 1<<24 /* DIT */ | 1<<21 /* SS */
)

// Errors of frames.
var (
	ErrNoRestorer = errors.New("signal action without a way to return")
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
	Restorer uint64 // with SA_RESTORER the action's, else the vDSO's return code
	Mask     uint64 // the mask that sigreturn restores
	Top      uint64 // where the frame may begin: the user's SP or the top of the alternate stack
	OnAlt    bool   // Top is the top of the alternate stack
	Alt      Stack  // stored in uc_stack
	Vector   []byte // VectorSize bytes
	// Fault describes the exception behind the signal.
	Fault Fault
	// Room is memory that the frame may be made in, FrameSize of it at best: it is the frame's until the next use of Room.
	Room []byte
}

// Fault is the part of the machine context that describes an exception.
type Fault struct {
	Addr  uint64 // FAR
	Trap  uint64
	Error uint64 // ESR
}

// FrameSize is the most that a frame takes with a vector state of n bytes: AT_MINSIGSTKSZ.
func FrameSize(int) uint64 { return frameSize + frameRecord + 16 }

// SignalFrame computes the frame of a signal: its bytes, where they go, and the registers with
// which the handler starts. The user's registers are r.
func SignalFrame(r *Regs, d *Delivery) (frame []byte, addr uint64, out Regs, err error) {
	if d.Restorer == 0 {
		return nil, 0, Regs{}, ErrNoRestorer
	}
	record := (d.Top - frameRecord) &^ 15
	addr = (record - frameSize) &^ 15
	frame = take(&d.Room, int(record+frameRecord-addr))
	le := binary.LittleEndian
	copy(frame, d.Info[:])
	putStack(frame[frameStack:], d.Alt)
	le.PutUint64(frame[frameMask:], d.Mask)
	mc := frame[frameContext:]
	le.PutUint64(mc, d.Fault.Addr)
	for i, v := range r.X {
		le.PutUint64(mc[8+8*i:], v)
	}
	le.PutUint64(mc[256:], r.SP)
	le.PutUint64(mc[264:], r.IP)
	le.PutUint64(mc[272:], r.PState)
	if len(d.Vector) >= VectorSize {
		fp := frame[frameRecords:]
		le.PutUint32(fp, fpsimdMagic)
		le.PutUint32(fp[4:], fpsimdSize)
		copy(fp[8:16], d.Vector[512:520]) // FPSR, FPCR
		copy(fp[16:fpsimdSize], d.Vector[:512])
	}
	le.PutUint64(frame[record-addr:], r.X[29])
	le.PutUint64(frame[record-addr+8:], r.X[30])
	out = *r
	out.X[0], out.X[1], out.X[2] = uint64(d.Signal), addr, addr+frameUC
	out.X[29], out.X[30] = record, d.Restorer
	out.SP, out.IP = addr, d.Handler
	out.PState &= pstateFlags
	return frame, addr, out, nil
}

// Saved is what sigreturn restores.
type Saved struct {
	Regs   Regs
	Mask   uint64
	Alt    Stack
	Vector []byte // nil: keep what is loaded
}

// ReadSignalFrame reads the frame at the stack pointer of r back. read copies user memory in.
// What comes back is safe to load: PSTATE is forced to EL0.
// What room has no place for is allocated; Saved.Vector may lie in it.
func ReadSignalFrame(r *Regs, _ int, room []byte, read func(addr uint64, b []byte) error) (s Saved, err error) {
	if r.SP%16 != 0 {
		return Saved{}, ErrFrame
	}
	frame := take(&room, frameSize)
	if err := read(r.SP, frame); err != nil {
		return Saved{}, err
	}
	le := binary.LittleEndian
	s = Saved{Mask: le.Uint64(frame[frameMask:]), Alt: getStack(frame[frameStack:])}
	mc := frame[frameContext:]
	for i := range s.Regs.X {
		s.Regs.X[i] = le.Uint64(mc[8+8*i:])
	}
	s.Regs.SP, s.Regs.IP = le.Uint64(mc[256:]), le.Uint64(mc[264:])
	s.Regs.PState = le.Uint64(mc[272:]) & pstateUser
	for records := frame[frameRecords:]; ; {
		if len(records) < 8 {
			return Saved{}, ErrFrame
		}
		magic, size := le.Uint32(records), int(le.Uint32(records[4:]))
		if magic == 0 {
			if size != 0 || s.Vector == nil {
				return Saved{}, ErrFrame // Linux requires the fpsimd record
			}
			return s, nil
		}
		if size < 16 || size%16 != 0 || size > len(records) {
			return Saved{}, ErrFrame
		}
		if magic == fpsimdMagic {
			if size != fpsimdSize || s.Vector != nil {
				return Saved{}, ErrFrame
			}
			s.Vector = take(&room, VectorSize)
			copy(s.Vector, records[16:fpsimdSize])
			copy(s.Vector[512:], records[8:16])
		}
		records = records[size:]
	}
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
