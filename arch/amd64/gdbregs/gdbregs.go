// Package gdbregs gives a debugger the registers of an amd64 vCPU under gdb's names and numbers. arch/arm64/gdbregs has
// the same names.
//
// Source: the GDB manual, "i386 Features" under "Standard Target Features".
package gdbregs

import (
	"encoding/binary"
	"fmt"

	gokvm "github.com/bobuhiro11/gokvm/kvm"

	"ringo/arch/amd64/vcpu"
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
	return &State{Registers: &vcpu.Registers{General: gokvm.Regs{RIP: pc, RSP: sp, RBP: fp}}, Partial: true}
}

// Numbers that others need.
const (
	PC = 16
	SP = 7
	FP = 6
)

// Where the groups of registers begin.
const (
	firstSegment = 18
	firstST      = 24
	firstFPU     = 32
	firstXMM     = 40
	mxcsr        = 56
	firstBase    = 57
	firstSystem  = 59
)

// Description is the table of registers.
var Description = describe()

const flagTypes = `<flags id="eflags" size="4">
<field name="" start="22" end="31"/><field name="ID" start="21" end="21"/><field name="VIP" start="20" end="20"/><field name="VIF" start="19" end="19"/>
<field name="AC" start="18" end="18"/><field name="VM" start="17" end="17"/><field name="RF" start="16" end="16"/><field name="NT" start="14" end="14"/>
<field name="OF" start="11" end="11"/><field name="DF" start="10" end="10"/><field name="IF" start="9" end="9"/><field name="TF" start="8" end="8"/>
<field name="SF" start="7" end="7"/><field name="ZF" start="6" end="6"/><field name="AF" start="4" end="4"/><field name="PF" start="2" end="2"/>
<field name="" start="1" end="1"/><field name="CF" start="0" end="0"/>
</flags>
`

const vectorTypes = `<vector id="v4f" type="ieee_single" count="4"/><vector id="v2d" type="ieee_double" count="2"/>
<vector id="v16i8" type="int8" count="16"/><vector id="v8i16" type="int16" count="8"/><vector id="v4i32" type="int32" count="4"/><vector id="v2i64" type="int64" count="2"/>
<union id="vec128"><field name="v4_float" type="v4f"/><field name="v2_double" type="v2d"/><field name="v16_int8" type="v16i8"/><field name="v8_int16" type="v8i16"/>
<field name="v4_int32" type="v4i32"/><field name="v2_int64" type="v2i64"/><field name="uint128" type="uint128"/></union>
`

func describe() *tdesc.Description {
	var core, sse []tdesc.Register
	for _, name := range []string{"rax", "rbx", "rcx", "rdx", "rsi", "rdi"} {
		core = append(core, tdesc.Register{Name: name, Bits: 64, Type: "int64"})
	}
	core = append(core, tdesc.Register{Name: "rbp", Bits: 64, Type: "data_ptr"}, tdesc.Register{Name: "rsp", Bits: 64, Type: "data_ptr"})
	for i := 8; i < 16; i++ {
		core = append(core, tdesc.Register{Name: fmt.Sprintf("r%d", i), Bits: 64, Type: "int64"})
	}
	core = append(core, tdesc.Register{Name: "rip", Bits: 64, Type: "code_ptr"}, tdesc.Register{Name: "eflags", Bits: 32, Type: "eflags"})
	for _, name := range []string{"cs", "ss", "ds", "es", "fs", "gs"} {
		core = append(core, tdesc.Register{Name: name, Bits: 32, Type: "int32"})
	}
	for i := range 8 {
		core = append(core, tdesc.Register{Name: fmt.Sprintf("st%d", i), Bits: 80, Type: "i387_ext"})
	}
	for _, name := range []string{"fctrl", "fstat", "ftag", "fiseg", "fioff", "foseg", "fooff", "fop"} {
		core = append(core, tdesc.Register{Name: name, Bits: 32, Type: "int", Group: "float"})
	}
	for i := range 16 {
		sse = append(sse, tdesc.Register{Name: fmt.Sprintf("xmm%d", i), Bits: 128, Type: "vec128"})
	}
	sse = append(sse, tdesc.Register{Name: "mxcsr", Bits: 32, Type: "int32", Group: "vector"})
	segments := []tdesc.Register{{Name: "fs_base", Bits: 64, Type: "int64"}, {Name: "gs_base", Bits: 64, Type: "int64"}}
	var system []tdesc.Register
	for _, name := range systemNames {
		system = append(system, tdesc.Register{Name: name, Bits: 64, Type: "int64", Group: "system"})
	}
	return &tdesc.Description{Architecture: "i386:x86-64", Features: []tdesc.Feature{
		{Name: "org.gnu.gdb.i386.core", Types: flagTypes, Registers: core},
		{Name: "org.gnu.gdb.i386.sse", Types: vectorTypes, Registers: sse},
		{Name: "org.gnu.gdb.i386.segments", Registers: segments},
		{Name: "ringo.system", Registers: system},
	}}
}

var systemNames = []string{"cr0", "cr2", "cr3", "cr4", "cr8", "efer", "dr6"}

func (s *State) general(n int) *uint64 {
	g := &s.Registers.General
	return [...]*uint64{
		&g.RAX, &g.RBX, &g.RCX, &g.RDX, &g.RSI, &g.RDI, &g.RBP, &g.RSP,
		&g.R8, &g.R9, &g.R10, &g.R11, &g.R12, &g.R13, &g.R14, &g.R15, &g.RIP, &g.RFLAGS,
	}[n]
}

func (s *State) system(n int) *uint64 {
	r := &s.Registers.System
	return [...]*uint64{&s.Registers.System.FS.Base, &r.GS.Base, &r.CR0, &r.CR2, &r.CR3, &r.CR4, &r.CR8, &r.EFER, &s.Registers.DR6}[n]
}

// Get is the bytes of register n, nil when it is not known.
func (s *State) Get(n int) []byte {
	le := binary.LittleEndian
	switch {
	case n < 0 || s.Partial && n != PC && n != SP && n != FP:
		return nil
	case n < firstSegment-1:
		return le.AppendUint64(nil, *s.general(n))
	case n == firstSegment-1:
		return le.AppendUint32(nil, uint32(*s.general(n)))
	case n < firstST:
		r := &s.Registers.System
		return le.AppendUint32(nil, uint32([...]uint16{r.CS.Selector, r.SS.Selector, r.DS.Selector, r.ES.Selector, r.FS.Selector, r.GS.Selector}[n-firstSegment]))
	case n < firstBase:
		return s.vector(n)
	case n < firstSystem+len(systemNames):
		return le.AppendUint64(nil, *s.system(n - firstBase))
	}
	return nil
}

func (s *State) vector(n int) []byte {
	v := s.Vector
	if v == nil {
		return nil
	}
	le := binary.LittleEndian
	switch {
	case n < firstFPU:
		return v.ST[n-firstST][:10:10]
	case n < firstXMM:
		return le.AppendUint32(nil, [...]uint32{
			uint32(v.FCW), uint32(v.FSW), fullTags(v), uint32(v.LastIP >> 32), uint32(v.LastIP), uint32(v.LastDP >> 32), uint32(v.LastDP), uint32(v.LastOpcode),
		}[n-firstFPU])
	case n < mxcsr:
		return v.XMM[n-firstXMM][:]
	}
	return le.AppendUint32(nil, v.MXCSR)
}

// fullTags is the tag word with two bits a register, by physical register: 3 is empty, 0 is taken for everything else.
func fullTags(v *vcpu.Vector) uint32 {
	var t uint32
	for i := range 8 {
		if v.FTW>>i&1 == 0 {
			t |= 3 << (2 * i)
		}
	}
	return t
}

// Set changes register n; false when it is not one that can be changed, or p has not its size.
func (s *State) Set(n int, p []byte) bool {
	le := binary.LittleEndian
	switch {
	case n < 0 || s.Partial:
		return false
	case n < firstSegment-1 && len(p) == 8:
		*s.general(n) = le.Uint64(p)
	case n == firstSegment-1 && len(p) == 4:
		*s.general(n) = uint64(le.Uint32(p))
	case n >= firstST && n < firstFPU && len(p) == 10 && s.Vector != nil:
		copy(s.Vector.ST[n-firstST][:], p)
	case n >= firstXMM && n < mxcsr && len(p) == 16 && s.Vector != nil:
		copy(s.Vector.XMM[n-firstXMM][:], p)
	case n == mxcsr && len(p) == 4 && s.Vector != nil:
		s.Vector.MXCSR = le.Uint32(p)
	case n >= firstBase && n < firstSystem && len(p) == 8:
		*s.system(n - firstBase) = le.Uint64(p)
	default:
		// Segments, control registers: a slip of the keyboard would cost the guest. What they are is not
		// an error, so that gdb may write back all that it has read.
		return string(s.Get(n)) == string(p)
	}
	return true
}

// Core is the registers as struct user_regs_struct of core files has them (arch/x86/include/asm/user_64.h).
func (s *State) Core() []byte {
	g, y := &s.Registers.General, &s.Registers.System
	var b []byte
	for _, v := range []uint64{
		g.R15, g.R14, g.R13, g.R12, g.RBP, g.RBX, g.R11, g.R10, g.R9, g.R8, g.RAX, g.RCX, g.RDX, g.RSI, g.RDI, ^uint64(0), g.RIP,
		uint64(y.CS.Selector), g.RFLAGS, g.RSP, uint64(y.SS.Selector), y.FS.Base, y.GS.Base,
		uint64(y.DS.Selector), uint64(y.ES.Selector), uint64(y.FS.Selector), uint64(y.GS.Selector),
	} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return b
}
