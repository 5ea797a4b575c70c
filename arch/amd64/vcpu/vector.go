package vcpu

import (
	"fmt"

	"ringo/internal/kvm"
)

const (
	nrGetFPU = 0x8c
	nrSetFPU = 0x8d
)

// Vector is the x87 and SSE state, as KVM_GET_FPU has it (struct kvm_fpu).
type Vector struct {
	ST         [8][16]byte // 10 bytes each
	FCW, FSW   uint16
	FTW        uint8 // abridged: bit i is set when ST(i) in use
	_          uint8
	LastOpcode uint16
	LastIP     uint64
	LastDP     uint64
	XMM        [16][16]byte
	MXCSR      uint32
	_          uint32
}

// Vector reads the vector state of a vCPU that is not running.
func (v *VCPU) Vector() (*Vector, error) {
	s := new(Vector)
	if _, err := kvm.Ioctl(v.FD(), kvm.R[Vector](nrGetFPU), s); err != nil {
		return nil, fmt.Errorf("vCPU %d: KVM_GET_FPU: %w", v.ID, err)
	}
	return s, nil
}

// SetVector changes the vector state of a vCPU that is not running; the upper halves of YMM registers stay.
func (v *VCPU) SetVector(s *Vector) error {
	if _, err := kvm.Ioctl(v.FD(), kvm.W[Vector](nrSetFPU), s); err != nil {
		return fmt.Errorf("vCPU %d: KVM_SET_FPU: %w", v.ID, err)
	}
	return nil
}
