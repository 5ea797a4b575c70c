package vcpu

import "ringo/internal/kvm"

// Settled says that the vCPU, which is not running, is between two instructions and nothing else, which arm64 always is.
func (v *VCPU) Settled() (bool, error) { return true, nil }

// Carried gives a vCPU that is not running the state behind an instruction that the monitor has carried out: after, which differs from
// before in general registers, program counter and PSTATE at most.
func (v *VCPU) Carried(before, after *Registers) error {
	was, is := before.core(), after.core()
	for i, f := range is {
		if *f.at == *was[i].at {
			continue
		}
		if err := v.set(f.id, *f.at); err != nil {
			return err
		}
	}
	return nil
}

// VectorRegister is vector register n.
func (v *VCPU) VectorRegister(n int) (x [16]byte, err error) {
	cell := new([16]byte)
	err = v.wideRegister(kvm.W[oneReg](nrGetOneReg), regU128|coreV+uint64(4*(n&31)), cell)
	return *cell, err
}
