// Package probe holds the tiny guests with which vmm doctor finds out what a KVM host can
// do, and the guest-debug requests they need. arch/arm64/probe has the same names.
//
// A probe guest is Size bytes of RAM at GPA Base with boot page tables, the monitor's early
// exception vectors, one program and a page of data. It starts as a kernel does (ring 0,
// long mode) with two arguments, and ends by an access that Ended recognises.
//
// Sources: AMD APM volumes 2 and 3; Intel SDM volume 3A chapter 11 (x2APIC); KVM's api.rst.
package probe

import (
	"encoding/binary"
	"errors"
	"fmt"

	"ringo/arch/amd64/vcpu"
	"ringo/internal/kvm"
)

// Arch is the architecture of the guests.
const Arch = vcpu.Arch

// Layout of the guest. All of it is mapped 1:1, for ring 3 too.
const (
	Base = 0
	Size = 2 << 20
	// Data is the GPA of the page that programs work on, DataGVA its GVA.
	Data    = 0x40000
	DataGVA = Data
	// Code is the GPA of the program.
	Code    = 0x30000
	codeGVA = Code

	pml4, pdpt, pd = 0x1000, 0x2000, 0x3000
	early          = 0x10000
	idt            = 0x20000

	donePort = 0xf0
	failPort = 0xf2

	timerVector = 0x40
)

// Page-table bits (AMD APM volume 2 section 5.4).
const present, writable, user, large = 1 << 0, 1 << 1, 1 << 2, 1 << 7

// Image is the guest's RAM with the program in it.
func Image(p Program) []byte {
	ram := make([]byte, Size)
	le := binary.LittleEndian
	le.PutUint64(ram[pml4:], pdpt|present|writable|user)
	le.PutUint64(ram[pdpt:], pd|present|writable|user)
	le.PutUint64(ram[pd:], present|writable|user|large)
	copy(ram[early:], vcpu.EarlyVectors(early))
	code := ram[Code:Code]
	for _, i := range p.code {
		code = append(code, i.bytes...)
	}
	for v := range timerVector + 1 {
		handler := uint64(Code + p.fail)
		if v == timerVector {
			handler = uint64(Code + p.handler)
		}
		gate := ram[idt+v*16:]
		le.PutUint16(gate, uint16(handler))
		le.PutUint16(gate[2:], 0x08) // the code segment of the early vectors' GDT
		gate[5] = 0x8e               // present interrupt gate
		le.PutUint16(gate[6:], uint16(handler>>16))
	}
	le.PutUint16(ram[Data:], (timerVector+1)*16-1) // what the timer's LIDT loads
	le.PutUint64(ram[Data+2:], idt)
	return ram
}

// Start puts the vCPU at the program's first instruction with arg0 and the GVA of the data
// as arguments.
func Start(v *vcpu.VCPU, arg0 uint64) error { return v.SetEntry(codeGVA, pml4, arg0, DataGVA, early) }

// ErrException: the guest met an exception, which the error describes.
var ErrException = errors.New("the guest met an unexpected exception or interrupt")

// Ended reports whether the exit is the program's end. Other exits are errors.
func Ended(v *vcpu.VCPU, x *kvm.Exit, read func(gpa uint64, n int) []byte) error {
	if x.Reason == kvm.ReasonIO && x.Write {
		switch x.Port {
		case donePort:
			return nil
		case failPort:
			return ErrException
		case vcpu.EarlyPort:
			v.CompleteIO()
			if r, err := v.Registers(); err == nil {
				return fmt.Errorf("%w: %s", ErrException, vcpu.EarlyException(r, early, read))
			}
			return ErrException
		}
	}
	return fmt.Errorf("unexpected exit: %s", x)
}

// guestDebug is struct kvm_guest_debug.
type guestDebug struct {
	Control, _ uint32
	Registers  [8]uint64
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

// Watch makes a write to the 8 bytes at gva end the run. DR7: L0 and G0, GE, reserved bit
// 10, write, 8 bytes (AMD APM volume 2 section 13.1.1).
func Watch(v *vcpu.VCPU, gva uint64) error {
	d := guestDebug{Control: debugEnable | debugHardware}
	d.Registers[0] = gva
	d.Registers[7] = 3 | 1<<9 | 1<<10 | 1<<16 | 2<<18
	return setDebug(v, d)
}

// Stepped and Watched recognise the exits that Step and Watch ask for, by DR6.BS and DR6.B0.
func Stepped(x *kvm.Exit) bool { return debugStatus(x)&(1<<14) != 0 }
func Watched(x *kvm.Exit) bool { return debugStatus(x)&1 != 0 }

func debugStatus(x *kvm.Exit) uint64 {
	if x.Reason != kvm.ReasonDebug {
		return 0
	}
	return binary.LittleEndian.Uint64(x.Raw[16:])
}

// UserMode reports whether what Trip left in the data page shows that it ran in ring 3.
func UserMode(data []byte) bool { return data[0]&3 == 3 }

// TimerTicks is Timer's arg0 for a deadline of a few microseconds.
const TimerTicks = 20_000
