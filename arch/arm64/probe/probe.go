// Package probe holds the tiny guests with which vmm doctor finds out what a KVM host can
// do, and the guest-debug requests they need. arch/amd64/probe has the same names.
//
// A probe guest is Size bytes of RAM at GPA Base with boot page tables, the monitor's early
// exception vectors, one program and a page of data. It starts as a kernel does (EL1h, MMU
// on) with two arguments, and ends by an access that Ended recognises.
//
// Sources: Arm ARM DDI 0487 chapters D2 (debug), D8 (translation), D11 (timer); Arm IHI 0069
// (GICv3); KVM's api.rst.
package probe

import (
	"encoding/binary"
	"errors"
	"fmt"

	"ringo/arch/arm64/vcpu"
	"ringo/internal/kvm"
)

// Arch is the architecture of the guests.
const Arch = vcpu.Arch

// Layout of the guest. EL1 uses the direct map; EL0 has RAM mapped 1:1.
const (
	Base = vcpu.RAMBase
	Size = 2 << 20
	// Data is the GPA of the page that programs work on, DataGVA its GVA.
	Data    = Base + 0x40000
	DataGVA = vcpu.DirectMap + Data
	// Code is the GPA of the program, Vectors of its exception vectors.
	Code    = Base + 0x30000
	codeGVA = vcpu.DirectMap + Code
	vectors = Code + 0x800

	level0, kernel1, user1 = Base + 0x1000, Base + 0x2000, Base + 0x3000
	early                  = Base + 0x10000

	donePage = 0x0900_0000
	failPage = donePage + 8
)

// Descriptor bits (Arm ARM D8.3).
const (
	table, block             = 3, 1
	device, userRW, shared   = 1 << 2, 1 << 6, 3 << 8
	accessed, kernelXN, noXN = 1 << 10, 1<<53 | 1<<54, 0
)

// Image is the guest's RAM with the program in it.
func Image(p Program) []byte {
	ram := make([]byte, Size)
	entry := func(at, index, v uint64) { binary.LittleEndian.PutUint64(ram[at-Base+index*8:], v) }
	entry(level0, vcpu.DirectMap>>39&0x1ff, kernel1|table)
	entry(level0, 0, user1|table)
	entry(kernel1, 0, 0|device|accessed|kernelXN|block) // GPA 0 to 1 GiB: registers
	entry(kernel1, Base>>30, Base|shared|accessed|noXN|block)
	entry(user1, Base>>30, Base|userRW|shared|accessed|noXN|block)
	copy(ram[early-Base:], vcpu.EarlyVectors(vcpu.DirectMap+early))
	put := func(at uint64, code []instruction) {
		for i, c := range code {
			binary.LittleEndian.PutUint32(ram[at-Base+uint64(i)*4:], c.word)
		}
	}
	put(Code, p.code)
	for v := range uint64(16) {
		put(vectors+v*0x80, failed)
	}
	for v, code := range p.vectors {
		put(vectors+v, code)
	}
	return ram
}

// Start puts the vCPU at the program's first instruction with arg0 and the GVA of the data
// as arguments.
func Start(v *vcpu.VCPU, arg0 uint64) error {
	return v.SetEntry(codeGVA, level0, arg0, DataGVA, vcpu.DirectMap+early)
}

// ErrException: the guest met an exception, which the error describes.
var ErrException = errors.New("the guest met an unexpected exception or interrupt")

// Ended reports whether the exit is the program's end. Other exits are errors.
func Ended(v *vcpu.VCPU, x *kvm.Exit, read func(gpa uint64, n int) []byte) error {
	if x.Reason == kvm.ReasonMMIO {
		switch {
		case x.Addr == donePage && x.Write:
			return nil
		case x.Addr == failPage && x.Write, x.Addr&^0xfff == vcpu.EarlyPage:
			r, err := v.Registers()
			if err != nil {
				return ErrException
			}
			if x.Addr != failPage {
				return fmt.Errorf("%w: %s", ErrException, vcpu.EarlyException(r, vcpu.DirectMap+early, read))
			}
			return fmt.Errorf("%w: ESR %#x, ELR %#x, FAR %#x", ErrException, r.ESR, r.ELR, r.FAR)
		}
	}
	return fmt.Errorf("unexpected exit: %s", x)
}

// guestDebug is struct kvm_guest_debug.
type guestDebug struct {
	Control, _         uint32
	BCR, BVR, WCR, WVR [16]uint64
}

const (
	nrSetGuestDebug = 0x9b
	debugEnable     = 1 << 0
	debugStep       = 1 << 1
	debugHardware   = 1 << 17
)

func setDebug(v *vcpu.VCPU, d guestDebug) error {
	if _, err := kvm.Ioctl(v.FD(), kvm.W[guestDebug](nrSetGuestDebug), &d); err != nil {
		return fmt.Errorf("KVM_SET_GUEST_DEBUG %#x: %w", d.Control, err)
	}
	return nil
}

// Step makes the next run end after one instruction.
func Step(v *vcpu.VCPU) error { return setDebug(v, guestDebug{Control: debugEnable | debugStep}) }

// Watch makes a write to the 8 bytes at gva, aligned, end the run. DBGWCR: enabled, EL1 and
// EL0, stores, all 8 bytes (Arm ARM D24.3.11).
func Watch(v *vcpu.VCPU, gva uint64) error {
	d := guestDebug{Control: debugEnable | debugHardware}
	d.WCR[0] = 1 | 3<<1 | 2<<3 | 0xff<<5
	d.WVR[0] = gva
	return setDebug(v, d)
}

// Exception classes of debug exits from a lower level (Arm ARM D24.2.40).
const (
	classStep  = 0x32
	classWatch = 0x34
)

// Stepped and Watched recognise the exits that Step and Watch ask for.
func Stepped(x *kvm.Exit) bool { return debugClass(x) == classStep }
func Watched(x *kvm.Exit) bool { return debugClass(x) == classWatch }

func debugClass(x *kvm.Exit) uint32 {
	if x.Reason != kvm.ReasonDebug {
		return 0
	}
	return binary.LittleEndian.Uint32(x.Raw) >> 26
}

// UserMode reports whether what Trip left in the data page, SPSR_EL1, shows that it ran in EL0.
func UserMode(data []byte) bool { return data[0]&0xf == 0 }

// TimerTicks is Timer's arg0 for a deadline of a few microseconds to milliseconds.
const TimerTicks = 2_000
