package vcpu

import (
	"fmt"

	"ringo/internal/kvm"
)

// Alarm is what RaiseAlarm makes the guest take: an interruption that the kernel leaves open and that ends it with a report of what the
// vCPU was doing. arm64 has no NMI; SError is masked where an exception begins and ends only.
const Alarm = "SError"

const (
	nrGetVCPUEvents = 0x9f
	nrSetVCPUEvents = 0xa0
)

// vcpuEvents is struct kvm_vcpu_events.
type vcpuEvents struct {
	Pending, HasSyndrome, ExternalAbort uint8
	_                                   [5]uint8
	Syndrome                            uint64
	_                                   [12]uint32
}

// RaiseAlarm makes the vCPU take an SError at its next run (KVM_SET_VCPU_EVENTS; Arm ARM D1.3.6). The vCPU is not running.
func (v *VCPU) RaiseAlarm() error {
	var e vcpuEvents
	if _, err := kvm.Ioctl(v.FD(), kvm.R[vcpuEvents](nrGetVCPUEvents), &e); err != nil {
		return fmt.Errorf("vCPU %d: KVM_GET_VCPU_EVENTS: %w", v.ID, err)
	}
	e.Pending = 1
	if _, err := kvm.Ioctl(v.FD(), kvm.W[vcpuEvents](nrSetVCPUEvents), &e); err != nil {
		return fmt.Errorf("vCPU %d: SError by KVM_SET_VCPU_EVENTS: %w", v.ID, err)
	}
	return nil
}
