package vcpu

import (
	"fmt"
	"runtime"
	"unsafe"

	"ringo/internal/kvm"
)

// oneReg is struct kvm_one_reg: KVM follows Addr.
type oneReg struct{ ID, Addr uint64 }

// oneRegister transfers one 64-bit register.
//
// Sound because value is heap memory (the runtime never moves that): it is the cell
// that the VCPU holds, and KeepAlive keeps the VCPU until the ioctl returned.
func (v *VCPU) oneRegister(op uintptr, id uint64) error {
	r := oneReg{ID: id, Addr: uint64(uintptr(unsafe.Pointer(v.cell)))}
	_, err := kvm.Ioctl(v.FD(), op, &r)
	runtime.KeepAlive(v)
	return err
}

func (v *VCPU) get(id uint64) (uint64, error) {
	if err := v.oneRegister(kvm.W[oneReg](nrGetOneReg), id); err != nil {
		return 0, fmt.Errorf("vCPU %d: KVM_GET_ONE_REG %#x: %w", v.ID, id, err)
	}
	return *v.cell, nil
}

func (v *VCPU) set(id, to uint64) error {
	*v.cell = to
	if err := v.oneRegister(kvm.W[oneReg](nrSetOneReg), id); err != nil {
		return fmt.Errorf("vCPU %d: KVM_SET_ONE_REG %#x = %#x: %w", v.ID, id, to, err)
	}
	return nil
}
