package vcpu

import (
	"encoding/binary"
	"fmt"
	"strings"

	"ringo/internal/kvm"
)

// Registers is a vCPU's state for reports. Addresses are GVAs.
type Registers struct {
	X                                           [31]uint64
	SPEL0, SPEL1, ProgramCounter, PSTATE        uint64
	ELR, SPSR, ESR, FAR                         uint64
	SCTLR, TCR, TTBR0, TTBR1, MAIR, VBAR, CPACR uint64
	TPIDR, TPIDREL0, MPIDR                      uint64
}

// core are the registers that instructions change, with their ids of KVM_GET_ONE_REG.
func (r *Registers) core() []field {
	out := make([]field, 0, len(r.X)+18)
	for i := range r.X {
		out = append(out, field{regCore | coreX + uint64(2*i), &r.X[i]})
	}
	return append(out, field{regCore | coreSP, &r.SPEL0}, field{regCore | coreSPEL1, &r.SPEL1}, field{regCore | corePC, &r.ProgramCounter},
		field{regCore | corePSTATE, &r.PSTATE})
}

// fields are all registers.
func (r *Registers) fields() []field {
	return append(r.core(), field{regCore | coreELR, &r.ELR}, field{regCore | coreSPSR, &r.SPSR},
		field{regESR, &r.ESR}, field{regFAR, &r.FAR}, field{regSCTLR, &r.SCTLR}, field{regTCR, &r.TCR}, field{regTTBR0, &r.TTBR0},
		field{regTTBR1, &r.TTBR1}, field{regMAIR, &r.MAIR}, field{regVBAR, &r.VBAR}, field{regCPACR, &r.CPACR},
		field{regTPIDR, &r.TPIDR}, field{regTPEL0, &r.TPIDREL0}, field{regMPIDR, &r.MPIDR},
	)
}

type field struct {
	id uint64
	at *uint64
}

// Registers reads the state of a vCPU that is not running.
func (v *VCPU) Registers() (*Registers, error) {
	r := new(Registers)
	for _, f := range r.fields() {
		x, err := v.get(f.id)
		if err != nil {
			return nil, err
		}
		*f.at = x
	}
	return r, nil
}

// SetRegisters changes the state of a vCPU that is not running to r. Only what differs is written.
func (v *VCPU) SetRegisters(r *Registers) error {
	now, err := v.Registers()
	if err != nil {
		return err
	}
	before := now.fields()
	for i, f := range r.fields() {
		if *f.at == *before[i].at {
			continue
		}
		if err := v.set(f.id, *f.at); err != nil {
			return err
		}
	}
	return nil
}

// PC is the program counter.
func (r *Registers) PC() uint64 { return r.ProgramCounter }

// SetPC changes the program counter in r.
func (r *Registers) SetPC(pc uint64) { r.ProgramCounter = pc }

// SP is the stack pointer in use: SP_EL1 only in EL1h.
func (r *Registers) SP() uint64 {
	if r.PSTATE&0xf == 5 {
		return r.SPEL1
	}
	return r.SPEL0
}

// FP is the frame pointer of the Go calling convention.
func (r *Registers) FP() uint64 { return r.X[29] }

// Link is the link register.
func (r *Registers) Link() uint64 { return r.X[30] }

// Goroutine is the register that holds g in Go code.
func (r *Registers) Goroutine() uint64 { return r.X[28] }

// FaultAddress is the address of the last abort taken to EL1.
func (r *Registers) FaultAddress() uint64 { return r.FAR }

// Root is the GPA of the page tables that translate gva.
func (r *Registers) Root(gva uint64) uint64 {
	if gva>>55&1 != 0 {
		return r.TTBR1 & 0xffff_ffff_fffe
	}
	return r.TTBR0 & 0xffff_ffff_fffe
}

// User says whether the vCPU was in user mode.
func (r *Registers) User() bool { return r.PSTATE&0xf == 0 }

// String is a block of lines.
func (r *Registers) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "pc  %016x  pstate %08x %s\n", r.ProgramCounter, r.PSTATE, modeName(r.PSTATE))
	for i, x := range r.X {
		end := "  "
		if i%4 == 3 {
			end = "\n"
		}
		fmt.Fprintf(&b, "%-3s %016x%s", fmt.Sprintf("x%d", i), x, end)
	}
	fmt.Fprintf(&b, "\nsp_el0 %016x  sp_el1 %016x  tpidr_el0 %016x  tpidr_el1 %016x\n", r.SPEL0, r.SPEL1, r.TPIDREL0, r.TPIDR)
	fmt.Fprintf(&b, "elr_el1 %016x  spsr_el1 %08x  esr_el1 %08x (%s)  far_el1 %016x\n", r.ELR, r.SPSR, r.ESR, exceptionClass(r.ESR), r.FAR)
	fmt.Fprintf(&b, "sctlr %x  tcr %x  ttbr0 %016x  ttbr1 %016x  mair %x  vbar %016x  cpacr %x  mpidr %x", r.SCTLR, r.TCR, r.TTBR0, r.TTBR1, r.MAIR, r.VBAR, r.CPACR, r.MPIDR)
	return b.String()
}

func modeName(pstate uint64) string {
	mode := map[uint64]string{0: "EL0t", 4: "EL1t", 5: "EL1h"}[pstate&0xf]
	var names []string
	for _, n := range []struct {
		bit  uint
		name string
	}{{31, "N"}, {30, "Z"}, {29, "C"}, {28, "V"}, {22, "PAN"}, {21, "SS"}, {9, "D"}, {8, "A"}, {7, "I"}, {6, "F"}} {
		if pstate>>n.bit&1 != 0 {
			names = append(names, n.name)
		}
	}
	return mode + " [" + strings.Join(names, " ") + "]"
}

// exceptionClass names ESR_EL1.EC (Arm ARM D24.2.40).
func exceptionClass(esr uint64) string {
	ec := esr >> 26 & 0x3f
	names := map[uint64]string{
		0x00: "unknown", 0x07: "FP/SIMD access", 0x0e: "illegal execution state", 0x15: "SVC", 0x18: "system register",
		0x20: "instruction abort, EL0", 0x21: "instruction abort, EL1", 0x22: "PC alignment", 0x24: "data abort, EL0",
		0x25: "data abort, EL1", 0x26: "SP alignment", 0x2c: "floating point", 0x2f: "SError", 0x30: "breakpoint, EL0",
		0x31: "breakpoint, EL1", 0x32: "step, EL0", 0x33: "step, EL1", 0x34: "watchpoint, EL0", 0x35: "watchpoint, EL1", 0x3c: "BRK",
	}
	if n, ok := names[ec]; ok {
		return n
	}
	return fmt.Sprintf("class %#x", ec)
}

// DescribeDebug decodes the architecture's part of a debug exit.
func DescribeDebug(x *kvm.Exit) string {
	u := x.Raw
	hsr := uint64(binary.LittleEndian.Uint32(u)) | uint64(binary.LittleEndian.Uint32(u[4:]))<<32
	return fmt.Sprintf("DEBUG hsr %#x (%s), far %#x", hsr, exceptionClass(hsr), binary.LittleEndian.Uint64(u[8:]))
}
