// Package gdbregs gives a debugger the registers of an arm64 vCPU under gdb's names and numbers. arch/amd64/gdbregs has
// the same names.
//
// Source: the GDB manual, "AArch64 Features" under "Standard Target Features".
package gdbregs

import (
	"encoding/binary"
	"fmt"

	"ringo/arch/arm64/vcpu"
	"ringo/internal/tdesc"
)

// State is what registers are read from and written to. A nil Vector has no vector registers. Of a Partial state, a sleeping
// task's, only the program counter and the stack and frame pointers are known.
type State struct {
	Registers *vcpu.Registers
	Vector    *vcpu.Vector
	Partial   bool
}

// Partial is the state of somebody who does not run: pc, sp and fp.
func Partial(pc, sp, fp uint64) *State {
	r := &vcpu.Registers{ProgramCounter: pc, SPEL0: sp, PSTATE: 4} // EL1t: SP is SP_EL0
	r.X[29] = fp
	return &State{Registers: r, Partial: true}
}

// Numbers that others need.
const (
	PC = 32
	SP = 31
	FP = 29
)

// Where the groups of registers begin.
const (
	cpsr        = 33
	firstV      = 34
	fpsr        = 66
	fpcr        = 67
	firstSystem = 68
)

// Description is the table of registers.
var Description = describe()

const flagTypes = `<flags id="cpsr_flags" size="4">
<field name="SP" start="0" end="0"/><field name="" start="1" end="1"/><field name="EL" start="2" end="3"/><field name="nRW" start="4" end="4"/>
<field name="F" start="6" end="6"/><field name="I" start="7" end="7"/><field name="A" start="8" end="8"/><field name="D" start="9" end="9"/>
<field name="SS" start="21" end="21"/><field name="PAN" start="22" end="22"/>
<field name="V" start="28" end="28"/><field name="C" start="29" end="29"/><field name="Z" start="30" end="30"/><field name="N" start="31" end="31"/>
</flags>
`

const vectorTypes = `<vector id="v2d" type="ieee_double" count="2"/><vector id="v2u" type="uint64" count="2"/><vector id="v4f" type="ieee_single" count="4"/>
<vector id="v4u" type="uint32" count="4"/><vector id="v8u" type="uint16" count="8"/><vector id="v16u" type="uint8" count="16"/>
<union id="aarch64v"><field name="d" type="v2d"/><field name="s" type="v4f"/><field name="u64" type="v2u"/><field name="u32" type="v4u"/><field name="u16" type="v8u"/>
<field name="b" type="v16u"/><field name="q" type="uint128"/></union>
`

func describe() *tdesc.Description {
	var core, fpu, system []tdesc.Register
	for i := range 31 {
		core = append(core, tdesc.Register{Name: fmt.Sprintf("x%d", i), Bits: 64, Type: "int"})
	}
	core = append(core, tdesc.Register{Name: "sp", Bits: 64, Type: "data_ptr"}, tdesc.Register{Name: "pc", Bits: 64, Type: "code_ptr"},
		tdesc.Register{Name: "cpsr", Bits: 32, Type: "cpsr_flags"})
	for i := range 32 {
		fpu = append(fpu, tdesc.Register{Name: fmt.Sprintf("v%d", i), Bits: 128, Type: "aarch64v"})
	}
	fpu = append(fpu, tdesc.Register{Name: "fpsr", Bits: 32, Type: "int"}, tdesc.Register{Name: "fpcr", Bits: 32, Type: "int"})
	for _, name := range systemNames {
		system = append(system, tdesc.Register{Name: name, Bits: 64, Type: "int", Group: "system"})
	}
	return &tdesc.Description{Architecture: "aarch64", Features: []tdesc.Feature{
		{Name: "org.gnu.gdb.aarch64.core", Types: flagTypes, Registers: core},
		{Name: "org.gnu.gdb.aarch64.fpu", Types: vectorTypes, Registers: fpu},
		{Name: "ringo.system", Registers: system},
	}}
}

var systemNames = []string{"ttbr0_el1", "ttbr1_el1", "tcr_el1", "sctlr_el1", "mair_el1", "vbar_el1", "esr_el1", "far_el1", "elr_el1", "spsr_el1", "sp_el0", "sp_el1", "tpidr_el0", "tpidr_el1", "mpidr_el1"}

func (s *State) core(n int) *uint64 {
	r := s.Registers
	switch {
	case n < 31:
		return &r.X[n]
	case n == PC:
		return &r.ProgramCounter
	case n == SP && r.PSTATE&0xf == 5: // EL1h
		return &r.SPEL1
	}
	return &r.SPEL0
}

func (s *State) system(n int) uint64 {
	r := s.Registers
	return [...]uint64{r.TTBR0, r.TTBR1, r.TCR, r.SCTLR, r.MAIR, r.VBAR, r.ESR, r.FAR, r.ELR, r.SPSR, r.SPEL0, r.SPEL1, r.TPIDREL0, r.TPIDR, r.MPIDR}[n]
}

// Get is the bytes of register n, nil when it is not known.
func (s *State) Get(n int) []byte {
	le := binary.LittleEndian
	switch {
	case n < 0 || s.Partial && n != PC && n != SP && n != FP:
		return nil
	case n < cpsr:
		return le.AppendUint64(nil, *s.core(n))
	case n == cpsr:
		return le.AppendUint32(nil, uint32(s.Registers.PSTATE))
	case n < firstSystem && s.Vector == nil:
		return nil
	case n < fpsr:
		return s.Vector.V[n-firstV][:]
	case n == fpsr:
		return le.AppendUint32(nil, s.Vector.FPSR)
	case n == fpcr:
		return le.AppendUint32(nil, s.Vector.FPCR)
	case n < firstSystem+len(systemNames):
		return le.AppendUint64(nil, s.system(n-firstSystem))
	}
	return nil
}

// Set changes register n; false when it is not one that can be changed, or p has not its size.
func (s *State) Set(n int, p []byte) bool {
	le := binary.LittleEndian
	switch {
	case n < 0 || s.Partial:
		return false
	case n < cpsr && len(p) == 8:
		*s.core(n) = le.Uint64(p)
	case n == cpsr && len(p) == 4:
		s.Registers.PSTATE = s.Registers.PSTATE&^0xffff_ffff | uint64(le.Uint32(p))
	case n >= firstV && n < fpsr && len(p) == 16 && s.Vector != nil:
		copy(s.Vector.V[n-firstV][:], p)
	case n == fpsr && len(p) == 4 && s.Vector != nil:
		s.Vector.FPSR = le.Uint32(p)
	case n == fpcr && len(p) == 4 && s.Vector != nil:
		s.Vector.FPCR = le.Uint32(p)
	default:
		// System registers: a slip of the keyboard would cost the guest. What they are is not an error, so
		// that gdb may write back all that it has read.
		return string(s.Get(n)) == string(p)
	}
	return true
}

// Core is the registers as struct user_pt_regs of core files has them (arch/arm64/include/uapi/asm/ptrace.h).
func (s *State) Core() []byte {
	var b []byte
	for n := range cpsr {
		b = binary.LittleEndian.AppendUint64(b, *s.core(n))
	}
	return binary.LittleEndian.AppendUint64(b, s.Registers.PSTATE)
}
