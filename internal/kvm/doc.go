// Package kvm is the part of the Linux KVM interface that is the same on every
// architecture: the system, VM and vCPU file descriptors, memory slots, irqfd, ioeventfd,
// KVM_RUN and the decoding of its exits. What a register or an interrupt controller looks
// like is in arch/*/vcpu, which is its only importer besides tests.
//
// Value-taking ioctls come from github.com/bobuhiro11/gokvm/kvm. Ioctls that take a pointer
// go through ioctlPtr instead: gokvm turns the pointer into a uintptr one call before
// the system call, so an argument on a goroutine stack could move in between.
//
// Source: Documentation/virt/kvm/api.rst and include/uapi/linux/kvm.h of Linux 6.12.
package kvm
