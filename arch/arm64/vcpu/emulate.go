package vcpu

import (
	"encoding/binary"

	"ringo/internal/kvm"
)

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

// AtInstruction reads what the instruction at PC, which fetch reads through r, works on, and what a report about it says: the
// registers that it names, PC, PSTATE, the stack pointer in use, X28 to X30 and the roots of the page tables. Each register costs a
// request to KVM, which in an emulated host takes a tenth of a millisecond; all of them are forty more.
func (v *VCPU) AtInstruction(fetch func(r *Registers) []byte) (*Registers, error) {
	r := new(Registers)
	read := func(fields ...field) (err error) {
		for _, f := range fields {
			if *f.at, err = v.get(f.id); err != nil {
				return err
			}
		}
		return nil
	}
	err := read(field{regCore | corePC, &r.ProgramCounter}, field{regCore | corePSTATE, &r.PSTATE}, field{regTTBR0, &r.TTBR0})
	if err != nil {
		return nil, err
	}
	sp := field{regCore | coreSP, &r.SPEL0}
	if r.PSTATE&pstateMode == modeEL1h {
		sp = field{regCore | coreSPEL1, &r.SPEL1}
	}
	err = read(sp)
	if upper := r.ProgramCounter>>55&1 != 0; err == nil && upper {
		err = read(field{regTTBR1, &r.TTBR1})
	}
	if err != nil {
		return nil, err
	}
	code := fetch(r)
	need := uint32(1<<28 | 1<<29 | 1<<30)
	if len(code) >= 4 {
		w := binary.LittleEndian.Uint32(code)
		for _, at := range []uint{0, 5, 10, 16} { // Rt, Rn, Rt2, Rm or Rs
			need |= 1 << (w >> at & 31)
		}
	}
	for i := range r.X {
		if need>>i&1 != 0 {
			if err := read(field{regCore | coreX + uint64(2*i), &r.X[i]}); err != nil {
				return nil, err
			}
		}
	}
	// The half of an operand's address is the base register's.
	for i := range r.X {
		if need>>i&1 != 0 && r.X[i]>>55&1 != 0 && r.TTBR1 == 0 {
			return r, read(field{regTTBR1, &r.TTBR1})
		}
	}
	return r, nil
}
