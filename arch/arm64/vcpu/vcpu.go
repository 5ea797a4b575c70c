// Package vcpu is the monitor's view of one arm64 virtual CPU under KVM: its creation, its
// state at the kernel's entry, its registers for reports. arch/amd64/vcpu has the same
// names. Everything is addressed through file descriptors, so the package compiles on any
// architecture; it works where /dev/kvm runs arm64 guests.
//
// Sources: Arm ARM DDI 0487 (registers, chapter D); Documentation/virt/kvm/api.rst section
// 4.68 (ONE_REG) and virt/kvm/devices/arm-vgic-v3.rst.
package vcpu

import (
	"fmt"

	"ringo/internal/kvm"
)

const (
	nrGetOneReg = 0xab
	nrSetOneReg = 0xac

	featurePSCI02 = 1 << 2
)

// VCPU is one virtual CPU. Except for Kick, its methods belong to the thread that runs it.
type VCPU struct {
	*kvm.VCPU
	vm   *VM
	cell *uint64 // through which registers are transferred
}

// NewVCPU creates vCPU number id, runnable at once, with PSCI 0.2 and later.
func (vm *VM) NewVCPU(id int) (*VCPU, error) {
	k, err := vm.VM.NewVCPU(id)
	if err != nil {
		return nil, err
	}
	init := vm.init
	if _, err := kvm.Ioctl(k.FD(), kvm.W[vcpuInit](nrARMVCPUInit), &init); err != nil {
		k.Close()
		return nil, fmt.Errorf("vCPU %d: KVM_ARM_VCPU_INIT: %w", id, err)
	}
	return &VCPU{VCPU: k, vm: vm, cell: new(uint64)}, nil
}

// Register ids of KVM_GET/SET_ONE_REG (arch/arm64/include/uapi/asm/kvm.h).
const (
	regARM64 = 0x6000_0000_0000_0000
	regU64   = 0x0030_0000_0000_0000
	regCore  = regARM64 | regU64 | 0x10<<16
	regSys   = regARM64 | regU64 | 0x13<<16

	// Offsets in struct kvm_regs, in 32-bit words.
	coreX      = 0
	coreSP     = 62 // SP_EL0
	corePC     = 64
	corePSTATE = 66
	coreSPEL1  = 68
	coreELR    = 70
	coreSPSR   = 72 // SPSR_EL1

	// The timer registers have ids of their own; CNT is op0 3, op1 3, CRn 14, CRm 3, op2 2.
	regTimerCount = regSys | 3<<14 | 3<<11 | 14<<7 | 3<<3 | 2
)

func sysReg(op0, op1, crn, crm, op2 uint64) uint64 {
	return regSys | op0<<14 | op1<<11 | crn<<7 | crm<<3 | op2
}

// System registers (Arm ARM D24).
var (
	regSCTLR = sysReg(3, 0, 1, 0, 0)
	regCPACR = sysReg(3, 0, 1, 0, 2)
	regTTBR0 = sysReg(3, 0, 2, 0, 0)
	regTTBR1 = sysReg(3, 0, 2, 0, 1)
	regTCR   = sysReg(3, 0, 2, 0, 2)
	regESR   = sysReg(3, 0, 5, 2, 0)
	regFAR   = sysReg(3, 0, 6, 0, 0)
	regMAIR  = sysReg(3, 0, 10, 2, 0)
	regVBAR  = sysReg(3, 0, 12, 0, 0)
	regTPIDR = sysReg(3, 0, 13, 0, 4) // TPIDR_EL1
	regTPEL0 = sysReg(3, 3, 13, 0, 2) // TPIDR_EL0
	regMPIDR = sysReg(3, 0, 0, 0, 5)
	regMMFR0 = sysReg(3, 0, 0, 7, 0) // ID_AA64MMFR0_EL1
)

// Bits of the entry state.
const (
	pstateEntry = 0x3c5 // EL1h, DAIF masked

	sctlrRES1  = 1<<29 | 1<<28 | 1<<23 | 1<<22 | 1<<20 | 1<<11
	sctlrM     = 1 << 0
	sctlrC     = 1 << 2
	sctlrI     = 1 << 12
	cpacrFPEN  = 3 << 20
	mairValues = 0x04<<8 | 0xff // index 0 normal write-back, 1 device nGnRE

	tcrT0SZ  = 16
	tcrT1SZ  = 16 << 16
	tcrIRGN0 = 1 << 8
	tcrORGN0 = 1 << 10
	tcrSH0   = 3 << 12
	tcrEPD1  = 1 << 23
	tcrIPS   = 32
)

// SetEntry brings the vCPU into the state docs/architecture.md promises at the kernel's
// entry: pc is a GVA, root the GPA of the page tables, arg0 and arg1 the first two arguments.
// early is the GVA of the EarlyVectors, 0 for none.
func (v *VCPU) SetEntry(pc, root, arg0, arg1, early uint64) error {
	mmfr0, err := v.get(regMMFR0)
	if err != nil {
		return err
	}
	ips := min(mmfr0&0xf, 5) // PARange: 5 is 48 bits, all the 4 KiB granule can use
	for _, r := range [...][2]uint64{
		{regMAIR, mairValues},
		{regTCR, tcrT0SZ | tcrT1SZ | tcrIRGN0 | tcrORGN0 | tcrSH0 | tcrEPD1 | ips<<tcrIPS},
		{regTTBR0, root},
		{regTTBR1, 0},
		{regVBAR, early},
		{regCPACR, cpacrFPEN},
		{regSCTLR, sctlrRES1 | sctlrM | sctlrC | sctlrI},
		{regCore | corePSTATE, pstateEntry},
		{regCore | coreX, arg0},
		{regCore | coreX + 2, arg1},
		{regCore | corePC, pc},
	} {
		if err := v.set(r[0], r[1]); err != nil {
			return err
		}
	}
	return nil
}

// Counter is the guest's virtual counter now.
func (v *VCPU) Counter() (uint64, error) { return v.get(regTimerCount) }

// CounterHz is the frequency of the guest's virtual counter, which is the host's.
func (v *VCPU) CounterHz() (uint64, error) {
	if hz := counterFrequency(); hz != 0 {
		return hz, nil
	}
	return 0, fmt.Errorf("CNTFRQ_EL0 is 0: this host's firmware does not tell the counter's frequency")
}
