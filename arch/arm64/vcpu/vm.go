package vcpu

import (
	"errors"
	"fmt"

	gokvm "github.com/bobuhiro11/gokvm/kvm"
	"golang.org/x/sys/unix"

	"ringo/internal/kvm"
)

// Request numbers and constants of the arm64 part of include/uapi/linux/kvm.h.
const (
	nrARMVCPUInit        = 0xae
	nrARMPreferredTarget = 0xaf

	capVMIPASize = gokvm.Capability(165)
	defaultIPA   = 40

	deviceVGICv3 = 7

	vgicGroupAddr   = 0
	vgicGroupNrIRQs = 3
	vgicGroupCtrl   = 4
	vgicAddrDist    = 2
	vgicAddrRedist  = 3
	vgicCtrlInit    = 0
)

// vcpuInit is struct kvm_vcpu_init.
type vcpuInit struct {
	Target   uint32
	Features [7]uint32
}

// VM is a virtual machine with its in-kernel GICv3.
type VM struct {
	*kvm.VM
	cpus    int
	ipaBits int
	gic     int // file descriptor
	init    vcpuInit
}

// NewVM creates the VM for cpus vCPUs; the GIC follows in StartInterrupts.
func NewVM(cpus int) (*VM, error) {
	vm := &VM{cpus: cpus, ipaBits: defaultIPA, gic: -1}
	k, err := kvm.Open(func(check func(gokvm.Capability) int) uintptr {
		if n := check(capVMIPASize); n != 0 {
			vm.ipaBits = n
			return uintptr(n)
		}
		return 0
	})
	if err != nil {
		return nil, err
	}
	vm.VM = k
	if _, err := kvm.Ioctl(vm.FD(), kvm.R[vcpuInit](nrARMPreferredTarget), &vm.init); err != nil {
		vm.Close()
		return nil, fmt.Errorf("KVM_ARM_PREFERRED_TARGET: %w", err)
	}
	vm.init.Features[0] |= featurePSCI02
	return vm, nil
}

// StartInterrupts creates the GICv3, which needs to know all vCPUs.
func (vm *VM) StartInterrupts() error {
	fd, err := vm.CreateDevice(deviceVGICv3)
	if err != nil {
		return fmt.Errorf("GICv3: %w", err)
	}
	vm.gic = fd
	dist, redist, irqs := uint64(GICD), uint64(GICR), uint64(interruptIDs)
	return errors.Join(
		kvm.SetDeviceAttr(fd, vgicGroupNrIRQs, 0, &irqs),
		kvm.SetDeviceAttr(fd, vgicGroupAddr, vgicAddrDist, &dist),
		kvm.SetDeviceAttr(fd, vgicGroupAddr, vgicAddrRedist, &redist),
		kvm.SetDeviceAttr(fd, vgicGroupCtrl, vgicCtrlInit, nil),
	)
}

// Close releases the VM; close its vCPUs first.
func (vm *VM) Close() error {
	var err error
	if vm.gic >= 0 {
		err = unix.Close(vm.gic)
		vm.gic = -1
	}
	return errors.Join(err, vm.VM.Close())
}

// MaxMemory is the highest amount of RAM in bytes the platform can address.
func (vm *VM) MaxMemory() uint64 { return 1<<vm.ipaBits - RAMBase }
