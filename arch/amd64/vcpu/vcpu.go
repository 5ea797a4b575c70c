// Package vcpu is the monitor's view of one amd64 virtual CPU under KVM: its creation, its
// state at the kernel's entry, its registers for reports. arch/arm64/vcpu has the same
// names. Everything is addressed through file descriptors, so the package compiles on any
// architecture; it works where /dev/kvm runs amd64 guests.
//
// Sources: Intel SDM volume 3A chapters 2, 4, 11; AMD APM volume 2; Documentation/virt/kvm/api.rst.
package vcpu

import (
	"fmt"

	gokvm "github.com/bobuhiro11/gokvm/kvm"

	"ringo/internal/kvm"
)

// Request numbers of vCPU ioctls that take memory.
const (
	nrGetRegs      = 0x81
	nrSetRegs      = 0x82
	nrGetSregs     = 0x83
	nrSetSregs     = 0x84
	nrGetMSRs      = 0x88
	nrSetMSRs      = 0x89
	nrSetCPUID2    = 0x90
	nrSetMPState   = 0x99
	nrGetDebugRegs = 0xa1
)

// Control register and EFER bits (Intel SDM volume 3A section 2.5).
const (
	cr0PE, cr0MP, cr0ET, cr0NE, cr0WP, cr0PG = 1 << 0, 1 << 1, 1 << 4, 1 << 5, 1 << 16, 1 << 31

	cr4PAE, cr4OSFXSR, cr4OSXMMEXCPT, cr4FSGSBASE, cr4OSXSAVE = 1 << 5, 1 << 9, 1 << 10, 1 << 16, 1 << 18

	eferSCE, eferLME, eferLMA, eferNXE = 1 << 0, 1 << 8, 1 << 10, 1 << 11

	apicBase, apicBSP, apicX2, apicEnable = 0xfee0_0000, 1 << 8, 1 << 10, 1 << 11

	rflagsReserved = 1 << 1

	msrTSC = 0x10
)

// VCPU is one virtual CPU. Except for Kick, its methods belong to the thread that runs it.
type VCPU struct {
	*kvm.VCPU
	vm    *VM
	cpuid []cpuidEntry
}

// NewVCPU creates vCPU number id with its CPUID.
func (vm *VM) NewVCPU(id int) (*VCPU, error) {
	k, err := vm.VM.NewVCPU(id)
	if err != nil {
		return nil, err
	}
	v := &VCPU{VCPU: k, vm: vm, cpuid: forVCPU(vm.cpuid, id, vm.cpus)}
	if err := setCPUID(v.FD(), v.cpuid); err != nil {
		k.Close()
		return nil, fmt.Errorf("vCPU %d: %w", id, err)
	}
	return v, nil
}

// SetEntry brings the vCPU into the state docs/architecture.md promises at the kernel's
// entry: pc is a GVA, root the GPA of the page tables, arg0 and arg1 the first two arguments.
// early is the GVA of the EarlyVectors, 0 for none.
func (v *VCPU) SetEntry(pc, root, arg0, arg1, early uint64) error {
	var s gokvm.Sregs
	if _, err := kvm.Ioctl(v.FD(), kvm.R[gokvm.Sregs](nrGetSregs), &s); err != nil {
		return fmt.Errorf("vCPU %d: KVM_GET_SREGS: %w", v.ID, err)
	}
	data := gokvm.Segment{Limit: 0xffff_ffff, Selector: 0x10, Typ: 3, Present: 1, DB: 1, S: 1, G: 1}
	s.CS = gokvm.Segment{Limit: 0xffff_ffff, Selector: 0x08, Typ: 11, Present: 1, L: 1, S: 1, G: 1}
	s.DS, s.ES, s.FS, s.GS, s.SS = data, data, data, data, data
	s.TR = gokvm.Segment{Limit: 0x67, Typ: 11, Present: 1}
	s.LDT = gokvm.Segment{Unusable: 1}
	s.GDT, s.IDT = gokvm.Descriptor{}, gokvm.Descriptor{}
	if early != 0 {
		s.GDT = gokvm.Descriptor{Base: early + earlyGDT, Limit: 3*8 - 1}
		s.IDT = gokvm.Descriptor{Base: early + earlyIDT, Limit: earlyVectors*16 - 1}
		s.TR.Base = early + earlyTSS + uint64(v.ID)*tssSize
	}
	s.CR0 = cr0PE | cr0MP | cr0ET | cr0NE | cr0WP | cr0PG
	s.CR3 = root
	s.CR4 = cr4PAE | cr4OSFXSR | cr4OSXMMEXCPT
	if findCPUID(v.cpuid, 7, 0).EBX&leaf7EBXFSGSBASE != 0 {
		s.CR4 |= cr4FSGSBASE
	}
	if findCPUID(v.cpuid, 1, 0).ECX&leaf1ECXXSAVE != 0 {
		s.CR4 |= cr4OSXSAVE // XCR0 is 1 after reset
	}
	s.EFER = eferSCE | eferLME | eferLMA | eferNXE
	s.ApicBase = apicBase | apicEnable | apicX2
	if v.ID == 0 {
		s.ApicBase |= apicBSP
	}
	if _, err := kvm.Ioctl(v.FD(), kvm.W[gokvm.Sregs](nrSetSregs), &s); err != nil {
		return fmt.Errorf("vCPU %d: KVM_SET_SREGS for long mode: %w", v.ID, err)
	}
	r := gokvm.Regs{RIP: pc, RDI: arg0, RSI: arg1, RFLAGS: rflagsReserved}
	if _, err := kvm.Ioctl(v.FD(), kvm.W[gokvm.Regs](nrSetRegs), &r); err != nil {
		return fmt.Errorf("vCPU %d: KVM_SET_REGS: %w", v.ID, err)
	}
	// All vCPUs start; with an in-kernel APIC the others would wait for an INIT.
	mp := gokvm.MPState{State: gokvm.MPStateRunnable}
	if _, err := kvm.Ioctl(v.FD(), kvm.W[gokvm.MPState](nrSetMPState), &mp); err != nil {
		return fmt.Errorf("vCPU %d: KVM_SET_MP_STATE runnable: %w", v.ID, err)
	}
	return nil
}

// CounterHz is the frequency of the guest's time-stamp counter.
func (v *VCPU) CounterHz() (uint64, error) {
	khz, err := kvm.Uninterrupted(func() (uint64, error) { return gokvm.GetTSCKHz(uintptr(v.FD())) })
	if err != nil || khz == 0 {
		return 0, fmt.Errorf("KVM_GET_TSC_KHZ: %d (%v): this host cannot tell the guest's counter frequency", khz, err)
	}
	return khz * 1000, nil
}

type oneMSR struct {
	N, _     uint32
	Index, _ uint32
	Data     uint64
}

type msrHeader struct{ N, _ uint32 }

// Counter is the guest's time-stamp counter now.
func (v *VCPU) Counter() (uint64, error) { return v.msr(msrTSC) }

func (v *VCPU) msr(index uint32) (uint64, error) {
	m := oneMSR{N: 1, Index: index}
	n, err := kvm.Ioctl(v.FD(), kvm.RW[msrHeader](nrGetMSRs), &m)
	if err != nil || n != 1 {
		return 0, fmt.Errorf("vCPU %d: read MSR %#x: %d values (%v)", v.ID, index, n, err)
	}
	return m.Data, nil
}
