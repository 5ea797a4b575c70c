package vcpu

import (
	"encoding/binary"
	"errors"
	"fmt"

	gokvm "github.com/bobuhiro11/gokvm/kvm"

	"ringo/internal/kvm"
)

// GuestDebug is what a vCPU reports to the monitor in place of the guest (KVM_SET_GUEST_DEBUG). The zero value is
// nothing. While anything is set, KVM also takes the guest's own debug exceptions: InjectDebug gives them back.
type GuestDebug struct {
	Step bool // after one instruction
	// BlockInterrupts keeps interrupts from the guest meanwhile.
	BlockInterrupts bool
	Software        bool // at SoftwareBreakpoint
	Breakpoints     []uint64
	Watchpoints     []Watchpoint
}

// Watchpoint is one debug register's worth: Len bytes at a GVA, as SplitWatch makes them.
type Watchpoint struct {
	GVA         uint64
	Len         int
	Read, Write bool // amd64 has no watchpoints for reads alone: Read watches both
}

// WatchesBehind says that a watchpoint stops behind the access, not before it. The old bytes are then
// lost to who has not remembered them.
const WatchesBehind = true

// SoftwareBreakpoint is the instruction (int3) that stops with GuestDebug.Software.
var SoftwareBreakpoint = []byte{0xcc}

// Request numbers and controls (arch/x86/include/uapi/asm/kvm.h).
const (
	nrSetGuestDebug = 0x9b
	nrGetVCPUEvents = 0x9f
	nrSetVCPUEvents = 0xa0
	nrSetDebugRegs  = 0xa2

	debugEnable   = 1 << 0
	debugStep     = 1 << 1
	debugSoftware = 1 << 16
	debugHardware = 1 << 17
	debugInjectDB = 1 << 18
	debugInjectBP = 1 << 19
	debugBlockIRQ = 1 << 20

	dr6Hit, dr6BD, dr6BS, dr6BT = 0xf, 1 << 13, 1 << 14, 1 << 15
	dr7Fixed                    = 1<<10 | 1<<9 // reserved one, GE

	vectorDB, vectorBP = 1, 3

	capSetGuestDebug  = gokvm.Capability(23)
	capSetGuestDebug2 = gokvm.Capability(195)
)

type guestDebug struct {
	Control, _ uint32
	Registers  [8]uint64
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
	return DebugSlots{4, 4, true}
}

// CanBlockInterrupts says whether GuestDebug.BlockInterrupts works (Linux 5.15).
func (vm *VM) CanBlockInterrupts() bool { return vm.Check(capSetGuestDebug2)&debugBlockIRQ != 0 }

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

// encode numbers the breakpoints first, then the watchpoints; DebugStop relies on it. DR7: AMD64 APM volume 2
// section 13.1.1.
func (d *GuestDebug) encode() (g guestDebug, err error) {
	if len(d.Breakpoints)+len(d.Watchpoints) > 4 {
		return g, fmt.Errorf("%w: %d and %d, of 4 registers", ErrDebugSlots, len(d.Breakpoints), len(d.Watchpoints))
	}
	for _, c := range []struct {
		on  bool
		bit uint32
	}{{d.Step, debugStep}, {d.BlockInterrupts, debugBlockIRQ}, {d.Software, debugSoftware}, {len(d.Breakpoints)+len(d.Watchpoints) > 0, debugHardware}} {
		if c.on {
			g.Control |= c.bit | debugEnable
		}
	}
	if g.Control&debugHardware == 0 {
		return g, nil
	}
	g.Registers[7] = dr7Fixed
	i := 0
	add := func(gva, kind, length uint64) {
		g.Registers[i] = gva
		g.Registers[7] |= 2<<(2*i) | kind<<(16+4*i) | length<<(18+4*i)
		i++
	}
	for _, gva := range d.Breakpoints {
		add(gva, 0, 0)
	}
	for _, w := range d.Watchpoints {
		length, ok := map[int]uint64{1: 0, 2: 1, 4: 3, 8: 2}[w.Len]
		if !ok || w.GVA%uint64(w.Len) != 0 {
			return g, fmt.Errorf("watchpoint of %d bytes at %#x: want 1, 2, 4 or 8 aligned bytes", w.Len, w.GVA)
		}
		kind := uint64(1)
		if w.Read {
			kind = 3
		}
		add(w.GVA, kind, length)
	}
	return g, nil
}

// SplitWatch is the range of n bytes at gva in pieces of one debug register each, no more than most; nil if
// it takes more.
func SplitWatch(gva uint64, n, most int) (pieces []Watchpoint) {
	for n > 0 {
		size := 8
		for gva%uint64(size) != 0 || size > n {
			size /= 2
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
	// Address is the GVA that a watchpoint was hit at, where KVM tells (arm64).
	Address uint64
}

// DecodeDebug says what d, which was in force, has stopped at. A stop with nothing set is the guest's own.
func DecodeDebug(x *kvm.Exit, d *GuestDebug) DebugStop {
	u := x.Raw
	s := DebugStop{PC: binary.LittleEndian.Uint64(u[8:])}
	dr6 := binary.LittleEndian.Uint64(u[16:])
	if binary.LittleEndian.Uint32(u) == vectorBP {
		s.Software = true
		return s
	}
	s.Step = d.Step && dr6&dr6BS != 0
	for i := range len(d.Breakpoints) + len(d.Watchpoints) {
		switch {
		case dr6>>i&1 == 0:
		case i >= len(d.Breakpoints):
			s.Watchpoints = append(s.Watchpoints, i-len(d.Breakpoints))
		case d.Breakpoints[i] == s.PC: // others match without being enabled
			s.Breakpoints = append(s.Breakpoints, i)
		}
	}
	return s
}

// Own says that the exit is a debug exception that the guest itself asked for.
func (s DebugStop) Own() bool {
	return !s.Step && !s.Software && len(s.Breakpoints) == 0 && len(s.Watchpoints) == 0
}

// InjectDebug gives the exception of a debug exit to the guest, which it belongs to.
func (v *VCPU) InjectDebug(x *kvm.Exit, d *GuestDebug) error {
	g, err := d.encode()
	if err != nil {
		return err
	}
	if binary.LittleEndian.Uint32(x.Raw) == vectorBP {
		g.Control |= debugInjectBP | debugEnable
	} else {
		g.Control |= debugInjectDB | debugEnable
		var r gokvm.DebugRegs
		if _, err := kvm.Ioctl(v.FD(), kvm.R[gokvm.DebugRegs](nrGetDebugRegs), &r); err != nil {
			return fmt.Errorf("vCPU %d: KVM_GET_DEBUGREGS: %w", v.ID, err)
		}
		r.DR6 |= binary.LittleEndian.Uint64(x.Raw[16:]) & (dr6Hit | dr6BD | dr6BS | dr6BT)
		if _, err := kvm.Ioctl(v.FD(), kvm.W[gokvm.DebugRegs](nrSetDebugRegs), &r); err != nil {
			return fmt.Errorf("vCPU %d: KVM_SET_DEBUGREGS: %w", v.ID, err)
		}
	}
	if _, err := kvm.Ioctl(v.FD(), kvm.W[guestDebug](nrSetGuestDebug), &g); err != nil {
		return fmt.Errorf("vCPU %d: give the guest its debug exception: %w", v.ID, err)
	}
	return v.SetGuestDebug(d)
}

// vcpuEvents is struct kvm_vcpu_events.
type vcpuEvents struct {
	Exception struct {
		Injected, Number, HasErrorCode, Pending uint8
		ErrorCode                               uint32
	}
	Interrupt struct{ Injected, Number, Soft, Shadow uint8 }
	NMI       struct{ Injected, Pending, Masked, _ uint8 }
	SIPI      uint32
	Flags     uint32
	_         [40]uint8
}

// Event is an exception or interrupt whose delivery to the guest has begun and is not complete.
type Event struct {
	Vector    int
	ErrorCode bool // the CPU pushes an error code behind the frame
	Interrupt bool
}

// Delivering is the event under delivery, if there is one: KVM repeats it at the next run.
func (v *VCPU) Delivering() (Event, bool, error) {
	var e vcpuEvents
	if _, err := kvm.Ioctl(v.FD(), kvm.R[vcpuEvents](nrGetVCPUEvents), &e); err != nil {
		return Event{}, false, fmt.Errorf("vCPU %d: KVM_GET_VCPU_EVENTS: %w", v.ID, err)
	}
	switch {
	case e.Exception.Injected != 0:
		return Event{Vector: int(e.Exception.Number), ErrorCode: e.Exception.HasErrorCode != 0}, true, nil
	case e.Interrupt.Injected != 0:
		return Event{Vector: int(e.Interrupt.Number), Interrupt: true}, true, nil
	case e.NMI.Injected != 0:
		return Event{Vector: 2, Interrupt: true}, true, nil
	}
	return Event{}, false, nil
}

// MaskInterrupts is for arm64: here GuestDebug.BlockInterrupts does it.
func (v *VCPU) MaskInterrupts(r *Registers) error { return nil }

// UnmaskInterrupts undoes MaskInterrupts.
func (v *VCPU) UnmaskInterrupts(r *Registers) error { return nil }

// gate is entry vector of the IDT: where its handler is and on which stack it runs (IST, 0 for none).
func (r *Registers) gate(vector int, read func(gva uint64, n int) []byte) (handler uint64, ist int, level int, ok bool) {
	if vector < 0 || vector*16+15 > int(r.System.IDT.Limit) {
		return 0, 0, 0, false
	}
	b := read(r.System.IDT.Base+uint64(vector)*16, 16)
	if len(b) < 16 || b[5]&0x80 == 0 {
		return 0, 0, 0, false
	}
	le := binary.LittleEndian
	handler = uint64(le.Uint16(b)) | uint64(le.Uint16(b[6:]))<<16 | uint64(le.Uint32(b[8:]))<<32
	return handler, int(b[4] & 7), int(le.Uint16(b[2:]) & 3), true
}

// Guards are addresses at which a step that ends in an exception has to be stopped: a CPU that takes an exception
// during a step runs through its handler. They are the handlers of the page fault and of general protection.
func (r *Registers) Guards(read func(gva uint64, n int) []byte) (out []uint64) {
	for _, vector := range []int{14, 13} {
		if handler, _, _, ok := r.gate(vector, read); ok {
			out = append(out, handler)
		}
	}
	return out
}

// AtVector is for arm64: here a step that ends in an exception stops at one of the Guards.
func (r *Registers) AtVector() bool { return false }

// FlagsInFrame is where the exception frame that the vCPU, standing at one of the Guards, has just pushed keeps the
// flags: behind error code, RIP and CS.
func (r *Registers) FlagsInFrame() (gva uint64, ok bool) { return r.General.RSP + 24, true }

// DeliveryFrame is what the delivery of e is going to push, and its handler; n is 0 when the tables cannot be read (AMD64
// APM volume 2 section 8.9).
func (r *Registers) DeliveryFrame(e Event, read func(gva uint64, n int) []byte) (gva uint64, n int, handler uint64) {
	handler, ist, level, ok := r.gate(e.Vector, read)
	if !ok {
		return 0, 0, 0
	}
	top := r.General.RSP
	slot := -1
	switch {
	case ist != 0:
		slot = 0x24 + (ist-1)*8
	case level < r.Level():
		slot = 4 + level*8
	}
	if slot >= 0 {
		b := read(r.System.TR.Base+uint64(slot), 8)
		if len(b) < 8 {
			return 0, 0, 0
		}
		top = binary.LittleEndian.Uint64(b)
	}
	n = 5 * 8
	if e.ErrorCode {
		n += 8
	}
	return top&^15 - uint64(n), n, handler
}

// SoftInterrupt is the event that the instruction at the start of code makes by itself: INT n, INT3, INT1.
func SoftInterrupt(code []byte) (e Event, ok bool) {
	switch {
	case len(code) > 1 && code[0] == 0xcd:
		return Event{Vector: int(code[1])}, true
	case len(code) > 0 && code[0] == 0xcc:
		return Event{Vector: 3}, true
	case len(code) > 0 && code[0] == 0xf1:
		return Event{Vector: 1}, true
	}
	return Event{}, false
}

// Flags are RFLAGS.
func (r *Registers) Flags() uint64 { return r.General.RFLAGS }

// Level is the current privilege level, 0 to 3.
func (r *Registers) Level() int { return int(r.System.CS.Selector & 3) }

// Backward says that string instructions go down (RFLAGS.DF).
func (r *Registers) Backward() bool { return r.General.RFLAGS>>10&1 != 0 }

// Masked says that interrupts are off.
func (r *Registers) Masked() bool { return r.General.RFLAGS>>9&1 == 0 }
