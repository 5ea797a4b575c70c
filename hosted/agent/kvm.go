package main

import (
	"errors"
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
	fd, err := uninterrupted(func() (int, error) { return unix.Open("/dev/kvm", unix.O_RDWR|unix.O_CLOEXEC, 0) })
	if err != nil {
		return fmt.Errorf("open /dev/kvm: %w", err)
	}
	version, err := request(fd, kvmGetAPIVersion)
	if err != nil || version != 12 {
		unix.Close(fd)
		return fmt.Errorf("KVM_GET_API_VERSION answered %d, %v; want 12", version, err)
	}
	vm, err := request(fd, kvmCreateVM)
	unix.Close(fd)
	if err != nil {
		return fmt.Errorf("KVM_CREATE_VM: %w", err)
	}
	if runtime.GOARCH == "amd64" {
		if _, err := request(vm, kvmCreateIRQChip); err != nil {
			unix.Close(vm)
			return fmt.Errorf("KVM_CREATE_IRQCHIP: %w", err)
		}
	}
	if _, err := request(vm, kvmCreateVCPU); err != nil {
		unix.Close(vm)
		return fmt.Errorf("KVM_CREATE_VCPU: %w", err)
	}
	return nil // both descriptors stay open: the agent ends with the machine
}

func request(fd int, number uint) (int, error) {
	return uninterrupted(func() (int, error) { return unix.IoctlRetInt(fd, number) })
}

// uninterrupted repeats a call that a signal ended with nothing done: the Go runtime preempts its threads with SIGURG, and KVM_CREATE_VM
// on arm64 then answers EINTR.
func uninterrupted(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}
