package vcpu

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"unsafe"

	"ringo/internal/kvm"
)

// Vector is the FP and Advanced SIMD state.
type Vector struct {
	V          [32][16]byte
	FPSR, FPCR uint32
}

// Register ids: struct kvm_regs has fp_regs at byte 336 (struct user_fpsimd_state: 32 vectors, fpsr, fpcr).
const (
	regU32   = 0x0020_0000_0000_0000
	regU128  = 0x0040_0000_0000_0000
	coreV    = 336 / 4
	coreFPSR = coreV + 32*4
	coreFPCR = coreFPSR + 1
)

// wideRegister transfers a register of up to 16 bytes. SVE guests have their vectors elsewhere; ours have no SVE.
//
// Sound because cell is heap memory (the runtime never moves that), kept until the ioctl has returned.
func (v *VCPU) wideRegister(op uintptr, id uint64, cell *[16]byte) error {
	r := oneReg{ID: regARM64 | 0x10<<16 | id, Addr: uint64(uintptr(unsafe.Pointer(cell)))}
	_, err := kvm.Ioctl(v.FD(), op, &r)
	runtime.KeepAlive(cell)
	if err != nil {
		return fmt.Errorf("vCPU %d: vector register %#x: %w", v.ID, r.ID, err)
	}
	return nil
}

// Vector reads the vector state of a vCPU that is not running.
func (v *VCPU) Vector() (*Vector, error) {
	s, cell := new(Vector), new([16]byte)
	for i := range s.V {
		if err := v.wideRegister(kvm.W[oneReg](nrGetOneReg), regU128|coreV+uint64(4*i), cell); err != nil {
			return nil, err
		}
		s.V[i] = *cell
	}
	for id, to := range map[uint64]*uint32{coreFPSR: &s.FPSR, coreFPCR: &s.FPCR} {
		if err := v.wideRegister(kvm.W[oneReg](nrGetOneReg), regU32|id, cell); err != nil {
			return nil, err
		}
		*to = binary.LittleEndian.Uint32(cell[:])
	}
	return s, nil
}

// SetVector changes the vector state of a vCPU that is not running.
func (v *VCPU) SetVector(s *Vector) error {
	cell := new([16]byte)
	for i := range s.V {
		*cell = s.V[i]
		if err := v.wideRegister(kvm.W[oneReg](nrSetOneReg), regU128|coreV+uint64(4*i), cell); err != nil {
			return err
		}
	}
	for id, value := range map[uint64]uint32{coreFPSR: s.FPSR, coreFPCR: s.FPCR} {
		binary.LittleEndian.PutUint32(cell[:], value)
		if err := v.wideRegister(kvm.W[oneReg](nrSetOneReg), regU32|id, cell); err != nil {
			return err
		}
	}
	return nil
}
