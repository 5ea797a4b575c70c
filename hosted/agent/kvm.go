package main

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// Request numbers of include/uapi/linux/kvm.h.
const (
	kvmGetAPIVersion = 0xae00
	kvmCreateVM      = 0xae01
	kvmCreateVCPU    = 0xae41
	kvmCreateIRQChip = 0xae60
)

// holdKVM makes a virtual machine with one CPU that never runs, and keeps it as long as the machine is up.
//
// It shows that KVM works. And while it exists, no command's VM is the first or the last one: those switch the processors'
// virtualisation on and off and patch kernel code (the static keys of preempt notifiers and of software-disabled local APICs). Patching
// kernel code that runs is what multi-threaded emulation is worst at: besides the time for translating it again, now and then a CPU
// runs the breakpoint of a patch that is already over, and the kernel dies ("Oops: int3" in __schedule).
func holdKVM() error {
	fd, err := unix.Open("/dev/kvm", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open /dev/kvm: %w", err)
	}
	version, err := unix.IoctlRetInt(fd, kvmGetAPIVersion)
	if err != nil || version != 12 {
		unix.Close(fd)
		return fmt.Errorf("KVM_GET_API_VERSION answered %d, %v; want 12", version, err)
	}
	vm, err := unix.IoctlRetInt(fd, kvmCreateVM)
	unix.Close(fd)
	if err != nil {
		return fmt.Errorf("KVM_CREATE_VM: %w", err)
	}
	if runtime.GOARCH == "amd64" {
		if _, err := unix.IoctlRetInt(vm, kvmCreateIRQChip); err != nil {
			unix.Close(vm)
			return fmt.Errorf("KVM_CREATE_IRQCHIP: %w", err)
		}
	}
	if _, err := unix.IoctlRetInt(vm, kvmCreateVCPU); err != nil {
		unix.Close(vm)
		return fmt.Errorf("KVM_CREATE_VCPU: %w", err)
	}
	return nil // both descriptors stay open: the agent ends with the machine
}
