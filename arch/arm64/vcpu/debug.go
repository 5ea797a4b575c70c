package vcpu

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	gokvm "github.com/bobuhiro11/gokvm/kvm"

	"ringo/internal/kvm"
)

// GuestDebug is what a vCPU reports to the monitor in place of the guest (KVM_SET_GUEST_DEBUG). The zero value is
// nothing. While anything is set, KVM also takes the guest's own debug exceptions: InjectDebug gives them back.
type GuestDebug struct {
	Step bool // after one instruction
	// BlockInterrupts is for amd64: here Registers.MaskInterrupts does it.
	BlockInterrupts bool
	Software        bool // at SoftwareBreakpoint
	Breakpoints     []uint64
	Watchpoints     []Watchpoint
}

// Watchpoint is one debug register's worth: Len bytes at a GVA, as SplitWatch makes them.
type Watchpoint struct {
	GVA         uint64
	Len         int
	Read, Write bool
}

// WatchesBehind says that a watchpoint stops behind the access: here it stops before, and has to be stepped over
// without it.
const WatchesBehind = false

// SoftwareBreakpoint is the instruction (BRK #0) that stops with GuestDebug.Software.
var SoftwareBreakpoint = []byte{0x00, 0x00, 0x20, 0xd4}

// Request numbers and controls (arch/arm64/include/uapi/asm/kvm.h), exception classes (Arm ARM D24.2.40).
const (
	nrSetGuestDebug = 0x9b

	debugEnable   = 1 << 0
	debugStep     = 1 << 1
	debugSoftware = 1 << 16
	debugHardware = 1 << 17

	capSetGuestDebug = gokvm.Capability(23)
	capHardwareBPs   = gokvm.Capability(119)
	capHardwareWPs   = gokvm.Capability(120)

	classBreakpoint, classStep, classWatchpoint, classBRK = 0x30, 0x32, 0x34, 0x3c

	maxRegisters = 16
	maxMask      = 31
)

type guestDebug struct {
	Control, _         uint32
	BCR, BVR, WCR, WVR [maxRegisters]uint64
}

// DebugSlots is how many hardware breakpoints and watchpoints a vCPU has.
type DebugSlots struct {
	Breakpoints, Watchpoints int
	Shared                   bool // the two numbers are of the same registers
}

// DebugSlots is what this host's KVM offers; whether they fire is another matter.
func (vm *VM) DebugSlots() DebugSlots {
	if vm.Check(capSetGuestDebug) == 0 {
		return DebugSlots{}
	}
	return DebugSlots{Breakpoints: min(vm.Check(capHardwareBPs), maxRegisters), Watchpoints: min(vm.Check(capHardwareWPs), maxRegisters)}
}

// CanBlockInterrupts says whether interrupts can be kept away during a step.
func (vm *VM) CanBlockInterrupts() bool { return true }

// ErrDebugSlots: more breakpoints and watchpoints than there are registers.
var ErrDebugSlots = errors.New("too many hardware breakpoints and watchpoints")

// SetGuestDebug replaces what the vCPU reports. It must not be running.
func (v *VCPU) SetGuestDebug(d *GuestDebug) error {
	g, err := d.encode()
	if err != nil {
		return err
	}
	if _, err := kvm.Ioctl(v.FD(), kvm.W[guestDebug](nrSetGuestDebug), &g); err != nil {
		return fmt.Errorf("vCPU %d: KVM_SET_GUEST_DEBUG %#x: %w", v.ID, g.Control, err)
	}
	return nil
}

// encode: DBGBCR and DBGWCR as in Arm ARM D24.3.2 and D24.3.11; KVM fills in the exception levels.
func (d *GuestDebug) encode() (g guestDebug, err error) {
	if len(d.Breakpoints) > maxRegisters || len(d.Watchpoints) > maxRegisters {
		return g, fmt.Errorf("%w: %d and %d", ErrDebugSlots, len(d.Breakpoints), len(d.Watchpoints))
	}
	for _, c := range []struct {
		on  bool
		bit uint32
	}{{d.Step, debugStep}, {d.Software, debugSoftware}, {len(d.Breakpoints)+len(d.Watchpoints) > 0, debugHardware}} {
		if c.on {
			g.Control |= c.bit | debugEnable
		}
	}
	const enable, both, anyByte = 1 << 0, 3 << 1, 0xf << 5
	for i, gva := range d.Breakpoints {
		g.BVR[i], g.BCR[i] = gva&^3, enable|both|anyByte
	}
	for i, w := range d.Watchpoints {
		if w.Len <= 0 || !w.Read && !w.Write {
			return g, fmt.Errorf("watchpoint of %d bytes at %#x: nothing to watch", w.Len, w.GVA)
		}
		control := uint64(enable | both)
		if w.Read {
			control |= 1 << 3
		}
		if w.Write {
			control |= 2 << 3
		}
		switch first := w.GVA & 7; {
		case int(first)+w.Len <= 8:
			control |= (1<<w.Len - 1) << first << 5 // BAS: these bytes of the doubleword
		case bits.OnesCount(uint(w.Len)) == 1 && w.GVA%uint64(w.Len) == 0 && w.Len <= 1<<maxMask:
			control |= 0xff<<5 | uint64(bits.TrailingZeros(uint(w.Len)))<<24 // MASK: an aligned power of two
		default:
			return g, fmt.Errorf("watchpoint of %d bytes at %#x: want bytes of one doubleword, or an aligned power of two", w.Len, w.GVA)
		}
		g.WVR[i], g.WCR[i] = w.GVA&^7, control
	}
	return g, nil
}

// SplitWatch is the range of n bytes at gva in pieces of one watchpoint register each, no more than most; nil if it
// takes more.
func SplitWatch(gva uint64, n, most int) (pieces []Watchpoint) {
	for n > 0 {
		size := min(n, 8-int(gva&7))
		if gva&7 == 0 && n > 8 {
			size = 1 << (bits.Len(uint(n)) - 1)
			for gva%uint64(size) != 0 {
				size /= 2
			}
		}
		if len(pieces) == most {
			return nil
		}
		pieces = append(pieces, Watchpoint{GVA: gva, Len: size})
		gva, n = gva+uint64(size), n-size
	}
	return pieces
}

// DebugStop is a decoded KVM_EXIT_DEBUG.
type DebugStop struct {
	PC          uint64
	Step        bool  // an instruction has been stepped over
	Software    bool  // PC stands at a SoftwareBreakpoint, or the guest's own
	Breakpoints []int // indices in GuestDebug.Breakpoints: PC stands before the instruction
	Watchpoints []int // indices in GuestDebug.Watchpoints
	// Address is the GVA that a watchpoint was hit at; it may lie before the watched bytes where
	// the access is wide.
	Address uint64
}

// DecodeDebug says what d, which was in force, has stopped at. PC is not in the exit: the caller sets it from the
// registers where it needs it. A stop with nothing set is the guest's own.
func DecodeDebug(x *kvm.Exit, d *GuestDebug) DebugStop {
	u := x.Raw
	s := DebugStop{Address: binary.LittleEndian.Uint64(u[8:])}
	switch binary.LittleEndian.Uint32(u) >> 26 & 0x3e {
	case classBreakpoint:
		for i := range d.Breakpoints {
			s.Breakpoints = append(s.Breakpoints, i)
		}
	case classStep:
		s.Step = d.Step
	case classWatchpoint:
		// FAR is an address within the access, which may begin before the watched bytes (D2.10.5): the
		// watchpoint nearest at or above it.
		best, distance := -1, ^uint64(0)
		for i, w := range d.Watchpoints {
			off := uint64(0)
			switch {
			case s.Address < w.GVA:
				off = w.GVA - s.Address
			case s.Address >= w.GVA+uint64(w.Len):
				off = s.Address - w.GVA - uint64(w.Len) + 1
			}
			if off < distance {
				best, distance = i, off
			}
		}
		if best >= 0 && distance < maxAccess {
			s.Watchpoints = []int{best}
		}
	case classBRK:
		s.Software = true
	}
	return s
}

// maxAccess is more bytes than one instruction accesses: dc zva of the largest block.
const maxAccess = 2048

// Own says that the exit is a debug exception that the guest itself asked for.
func (s DebugStop) Own() bool {
	return !s.Step && !s.Software && len(s.Breakpoints) == 0 && len(s.Watchpoints) == 0
}

// PSTATE bits.
const (
	pstateMode = 0xf
	pstateDAIF = 0xf << 6
	pstateI    = 1 << 7
	pstateSS   = 1 << 21
	modeEL1h   = 5
)

// InjectDebug gives the exception of a debug exit to the guest, which it belongs to: it takes it at EL1 as the
// CPU would (Arm ARM D1.3.2).
func (v *VCPU) InjectDebug(x *kvm.Exit, d *GuestDebug) error {
	r, err := v.Registers()
	if err != nil {
		return err
	}
	r.takeException(uint64(binary.LittleEndian.Uint32(x.Raw)), binary.LittleEndian.Uint64(x.Raw[8:]))
	return v.SetRegisters(r)
}

// takeException enters EL1 with a synchronous exception. syndrome is as from a lower level.
func (r *Registers) takeException(syndrome, far uint64) {
	offset := uint64(0x400)
	if r.PSTATE&pstateMode != 0 {
		offset = 0x200
		if r.PSTATE&1 == 0 {
			offset = 0
		}
		if syndrome>>26 != classBRK {
			syndrome |= 1 << 26 // the class of the same level
		}
	}
	r.ESR, r.FAR, r.ELR, r.SPSR = syndrome, far, r.ProgramCounter, r.PSTATE&^pstateSS
	r.PSTATE = r.PSTATE&(0xf<<28|1<<22) | pstateDAIF | modeEL1h // condition flags and PAN stay
	r.ProgramCounter = r.VBAR + offset
}

// Event is an exception or interrupt whose delivery is not complete.
type Event struct {
	Vector    int
	ErrorCode bool
	Interrupt bool
}

// Delivering is the event under delivery: exceptions of arm64 write no memory, so there is none.
func (v *VCPU) Delivering() (Event, bool, error) { return Event{}, false, nil }

// SoftInterrupt is the event that the instruction at the start of code makes by itself: none that writes memory.
func SoftInterrupt(code []byte) (e Event, ok bool) { return Event{}, false }

// MaskInterrupts keeps interrupts from the vCPU, whose registers are r, for a step that is not to end in an interrupt
// handler.
func (v *VCPU) MaskInterrupts(r *Registers) error {
	if r.PSTATE&pstateDAIF == pstateDAIF {
		return nil
	}
	return v.set(regCore|corePSTATE, r.PSTATE|pstateDAIF)
}

// UnmaskInterrupts undoes MaskInterrupts, r being the registers before: in PSTATE, or in SPSR_EL1 if the instruction
// ended in an exception.
func (v *VCPU) UnmaskInterrupts(r *Registers) error {
	if r.PSTATE&pstateDAIF == pstateDAIF {
		return nil
	}
	pc, err := v.get(regCore | corePC)
	if err != nil {
		return err
	}
	id := uint64(regCore | corePSTATE)
	if atVector(pc, r.VBAR) {
		id = regCore | coreSPSR
	}
	flags, err := v.get(id)
	if err != nil {
		return err
	}
	return v.set(id, flags&^pstateDAIF|r.PSTATE&pstateDAIF)
}

// atVector says that pc is the start of an exception vector.
func atVector(pc, vbar uint64) bool { return pc-vbar < 0x800 && (pc-vbar)%0x80 == 0 }

// AtVector says that an instruction has just ended in an exception.
func (r *Registers) AtVector() bool { return atVector(r.ProgramCounter, r.VBAR) }

// Guards are addresses at which a step that ends in an exception has to be stopped; a step of arm64 stops there by
// itself.
func (r *Registers) Guards(read func(gva uint64, n int) []byte) []uint64 { return nil }

// FlagsInFrame is where the exception frame that the vCPU has just pushed keeps the flags: arm64 pushes none.
func (r *Registers) FlagsInFrame() (gva uint64, ok bool) { return 0, false }

// DeliveryFrame is what the delivery of e is going to push: nothing.
func (r *Registers) DeliveryFrame(e Event, read func(gva uint64, n int) []byte) (gva uint64, n int, handler uint64) {
	return 0, 0, 0
}

// Flags are PSTATE.
func (r *Registers) Flags() uint64 { return r.PSTATE }

// Level is the exception level.
func (r *Registers) Level() int { return int(r.PSTATE >> 2 & 3) }

// Backward is for amd64.
func (r *Registers) Backward() bool { return false }

// Masked says that interrupts are off.
func (r *Registers) Masked() bool { return r.PSTATE&pstateI != 0 }
