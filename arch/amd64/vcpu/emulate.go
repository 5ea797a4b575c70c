package vcpu

import (
	"fmt"

	gokvm "github.com/bobuhiro11/gokvm/kvm"

	"ringo/internal/kvm"
)

// Settled says that the vCPU, which is not running, is between two instructions and nothing else: no exception or interrupt is under
// delivery, none is held off for one instruction by STI or MOV SS.
func (v *VCPU) Settled() (bool, error) {
	var e vcpuEvents
	if _, err := kvm.Ioctl(v.FD(), kvm.R[vcpuEvents](nrGetVCPUEvents), &e); err != nil {
		return false, fmt.Errorf("vCPU %d: KVM_GET_VCPU_EVENTS: %w", v.ID, err)
	}
	return e.Exception.Injected|e.Exception.Pending|e.Interrupt.Injected|e.Interrupt.Shadow|e.NMI.Injected == 0, nil
}

// Carried gives a vCPU that is not running the state behind an instruction that the monitor has carried out: only general registers
// differ between before and after. The vCPU is settled, so that KVM has no exception to forget.
func (v *VCPU) Carried(before, after *Registers) error {
	if _, err := kvm.Ioctl(v.FD(), kvm.W[gokvm.Regs](nrSetRegs), &after.General); err != nil {
		return fmt.Errorf("vCPU %d: KVM_SET_REGS: %w", v.ID, err)
	}
	return nil
}

// VectorRegister is the low 16 bytes of vector register n.
func (v *VCPU) VectorRegister(n int) (x [16]byte, err error) {
	s, err := v.Vector()
	if err != nil {
		return x, err
	}
	return s.XMM[n&15], nil
}

// AtInstruction reads what the instruction at PC works on, and what a report about it says: here all registers, as a request to KVM
// reads them at once. fetch is for arm64.
func (v *VCPU) AtInstruction(fetch func(r *Registers) []byte) (*Registers, error) {
	return v.Registers()
}
