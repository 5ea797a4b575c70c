package vcpu

import (
	"fmt"

	"ringo/internal/kvm"
)

// Alarm is what RaiseAlarm makes the guest take: an interruption that the kernel cannot mask and that ends it with a report of what the vCPU was doing.
const Alarm = "NMI"

const nrNMI = 0x9a

// RaiseAlarm makes the vCPU take an NMI at its next run (KVM_NMI; Intel SDM volume 3, 7.7). The vCPU is not running.
func (v *VCPU) RaiseAlarm() error {
	if _, err := kvm.Ioctl[struct{}](v.FD(), kvm.None(nrNMI), nil); err != nil {
		return fmt.Errorf("vCPU %d: KVM_NMI: %w", v.ID, err)
	}
	return nil
}
