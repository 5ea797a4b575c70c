package store

import (
	"encoding/hex"
	"math/rand/v2"
	"strings"
	"testing"

	gokvm "github.com/bobuhiro11/gokvm/kvm"
	"golang.org/x/arch/x86/x86asm"

	"ringo/arch/amd64/vcpu"
	"ringo/internal/store"
)

func registers() *vcpu.Registers {
	return &vcpu.Registers{
		General: gokvm.Regs{
			RAX: 0x1000, RBX: 0x2000, RCX: 0x10, RDX: 0, RSI: 0x5000, RDI: 0x6000, RSP: 0x7000, RBP: 0x8000,
			R8: 0x9000, R9: 0xa000, R10: 0xb000, R11: 0xc000, R12: 0xd000, R13: 0xe000, R14: 0xf000, R15: 0x10000, RIP: 0x400000,
		},
		System: gokvm.Sregs{FS: gokvm.Segment{Base: 0x7f0000000000}, GS: gokvm.Segment{Base: 0xffff880000000000}},
	}
}

func xsaveSize(components uint64, compacted bool) int {
	n := 576
	if components&4 != 0 {
		n += 256
	}
	return n
}

// What an instruction writes: bytes in hex, then address+length, "?" for partial; "" for nothing.
func TestStores(t *testing.T) {
	for _, c := range []struct {
		name, code string
		class      store.Class
		want       []store.Operand
		pc         []uint64 // Until
	}{
		{"mov [rdi], rax", "488907", store.Plain, []store.Operand{{GVA: 0x6000, Len: 8, Write: true}}, nil},
		{"mov [rdi+8], ax", "66894708", store.Plain, []store.Operand{{GVA: 0x6008, Len: 2, Write: true}}, nil},
		{"mov [rbx+rcx*8-0x10], r15b", "44887ccbf0", store.Plain, []store.Operand{{GVA: 0x2070, Len: 1, Write: true}}, nil},
		{"mov dword [rip+0x10], 1", "c7051000000001000000", store.Plain, []store.Operand{{GVA: 0x40001a, Len: 4, Write: true}}, nil},
		{"mov [fs:0x10], rax", "6448890425 10000000", store.Plain, []store.Operand{{GVA: 0x7f0000000010, Len: 8, Write: true}}, nil},
		{"mov [gs:rsp+r12*2], eax", "654289 0464", store.Plain, []store.Operand{{GVA: 0xffff880000000000 + 0x7000 + 0xd000*2, Len: 4, Write: true}}, nil},
		{"mov eax, [rdi]", "8b07", store.Plain, []store.Operand{{GVA: 0x6000, Len: 4, Read: true}}, nil},
		{"push rax", "50", store.Push, []store.Operand{{GVA: 0x6ff8, Len: 8, Write: true}}, nil},
		{"push qword [rax]", "ff30", store.Push, []store.Operand{{GVA: 0x6ff8, Len: 8, Write: true}, {GVA: 0x1000, Len: 8, Read: true}}, nil},
		{"pop qword [rsp+8]", "8f442408", store.Plain, []store.Operand{{GVA: 0x7000, Len: 8, Read: true}, {GVA: 0x7010, Len: 8, Write: true}}, nil},
		{"call", "e800000000", store.Push, []store.Operand{{GVA: 0x6ff8, Len: 8, Write: true}}, nil},
		{"call [rax]", "ff10", store.Push, []store.Operand{{GVA: 0x6ff8, Len: 8, Write: true}, {GVA: 0x1000, Len: 8, Read: true}}, nil},
		{"enter 16, 2", "c8100002", store.Push, []store.Operand{{GVA: 0x6fe8, Len: 24, Write: true}}, nil},
		{"rep stosb", "f3aa", store.String, []store.Operand{{GVA: 0x6000, Len: 16, Write: true}}, []uint64{0x400002}},
		{"rep stosq", "f348ab", store.String, []store.Operand{{GVA: 0x6000, Len: 128, Write: true}}, []uint64{0x400003}},
		{"rep movsd", "f3a5", store.String, []store.Operand{{GVA: 0x5000, Len: 64, Read: true}, {GVA: 0x6000, Len: 64, Write: true}}, []uint64{0x400002}},
		{"movsb", "a4", store.String, []store.Operand{{GVA: 0x5000, Len: 1, Read: true}, {GVA: 0x6000, Len: 1, Write: true}}, nil},
		{"lock inc dword [rax]", "f0ff00", store.Atomic, []store.Operand{{GVA: 0x1000, Len: 4, Read: true, Write: true}}, nil},
		{"lock cmpxchg16b [rdi]", "f0480fc70f", store.Atomic, []store.Operand{{GVA: 0x6000, Len: 16, Read: true, Write: true}}, nil},
		{"xchg [rax], ebx", "8718", store.Atomic, []store.Operand{{GVA: 0x1000, Len: 4, Read: true, Write: true}}, nil},
		{"lock xadd [rax], rbx", "f0480fc118", store.Atomic, []store.Operand{{GVA: 0x1000, Len: 8, Read: true, Write: true}}, nil},
		{"bts [rax], rcx (bit 16)", "480fab08", store.Plain, []store.Operand{{GVA: 0x1000, Len: 8, Read: true, Write: true}}, nil},
		{"setz [rax]", "0f9400", store.Plain, []store.Operand{{GVA: 0x1000, Len: 1, Write: true}}, nil},
		{"movups [rax], xmm0", "0f1100", store.Vector, []store.Operand{{GVA: 0x1000, Len: 16, Write: true}}, nil},
		{"movsd [rax], xmm0", "f20f1100", store.Vector, []store.Operand{{GVA: 0x1000, Len: 8, Write: true}}, nil},
		{"movdqu [rax], xmm1", "f30f7f08", store.Vector, []store.Operand{{GVA: 0x1000, Len: 16, Write: true}}, nil},
		{"movnti [rax], rcx", "480fc308", store.Plain, []store.Operand{{GVA: 0x1000, Len: 8, Write: true}}, nil},
		{"maskmovdqu xmm0, xmm1", "660ff7c1", store.Vector, []store.Operand{{GVA: 0x6000, Len: 16, Write: true, Partial: true}}, nil},
		{"vmovdqu [rdi], ymm0", "c5fe7f07", store.Vector, []store.Operand{{GVA: 0x6000, Len: 32, Write: true}}, nil},
		{"vmovdqu [rdi+rbx-0x20], ymm1", "c5fe7f4c1fe0", store.Vector, []store.Operand{{GVA: 0x7fe0, Len: 32, Write: true}}, nil},
		{"vmovntdq [rdi], ymm0", "c5fde707", store.Vector, []store.Operand{{GVA: 0x6000, Len: 32, Write: true}}, nil},
		{"vmovups [r8], xmm9", "c4417811 08", store.Vector, []store.Operand{{GVA: 0x9000, Len: 16, Write: true}}, nil},
		{"vmovdqu64 [rdi+0x40], zmm0", "62f1fe487f4701", store.Vector, []store.Operand{{GVA: 0x6040, Len: 64, Write: true}}, nil},
		{"vmovdqu8 [rdi]{k1}, ymm0", "62f17f297f07", store.Vector, []store.Operand{{GVA: 0x6000, Len: 32, Write: true, Partial: true}}, nil},
		{"vextracti128 [rax], ymm0, 1", "c4e37d390001", store.Vector, []store.Operand{{GVA: 0x1000, Len: 16, Write: true}}, nil},
		{"vpmaskmovd [rax], ymm1, ymm0", "c4e2758e00", store.Vector, []store.Operand{{GVA: 0x1000, Len: 32, Write: true, Partial: true}}, nil},
		{"xsave64 [rdi]", "480fae27", store.XSave, []store.Operand{{GVA: 0x6000, Len: 576, Write: true, Partial: true}}, nil},
		{"fxsave64 [rdi]", "480fae07", store.XSave, []store.Operand{{GVA: 0x6000, Len: 512, Write: true}}, nil},
		{"sgdt [rax]", "0f0100", store.System, []store.Operand{{GVA: 0x1000, Len: 10, Write: true}}, nil},
		{"fstp qword [rax]", "dd18", store.Plain, []store.Operand{{GVA: 0x1000, Len: 8, Write: true}}, nil},
		{"mov [0x1122334455667788], al", "a28877665544332211", store.Plain, []store.Operand{{GVA: 0x1122334455667788, Len: 1, Write: true}}, nil},
		{"mov [edi], eax", "678907", store.Plain, []store.Operand{{GVA: 0x6000, Len: 4, Write: true}}, nil},
		{"nop [rax]", "0f1f00", store.Plain, nil, nil},
		{"lea", "488d07", store.Plain, nil, nil},
	} {
		code, err := hex.DecodeString(strings.ReplaceAll(c.code, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		in := Decode(code, registers(), &Environment{XSaveSize: xsaveSize})
		if in.Unknown || in.Len != len(code) || in.Class != c.class || len(in.Operands) != len(c.want) || len(in.Until) != len(c.pc) {
			t.Errorf("%s: %+v", c.name, in)
			continue
		}
		for i, o := range in.Operands {
			if o != c.want[i] {
				t.Errorf("%s: operand %d is %+v (GVA %#x), want %+v", c.name, i, o, o.GVA, c.want[i])
			}
		}
		if len(c.pc) > 0 && in.Until[0] != c.pc[0] {
			t.Errorf("%s: runs until %#x, want %#x", c.name, in.Until, c.pc)
		}
	}
}

func TestBackwardStringsLieBelow(t *testing.T) {
	r := registers()
	r.General.RFLAGS = 1 << 10
	in := Decode([]byte{0xf3, 0x48, 0xab}, r, nil)
	if o := in.Operands[0]; o.GVA != 0x6000-15*8 || o.Len != 128 {
		t.Errorf("%#x, %d bytes", o.GVA, o.Len)
	}
	if in := Decode([]byte{0xa4}, r, nil); in.Operands[1].GVA != 0x6000 {
		t.Errorf("one round: %+v", in)
	}
	r.General.RCX = 0
	if in := Decode([]byte{0xf3, 0xaa}, r, nil); len(in.Operands) != 0 {
		t.Errorf("no rounds: %+v", in)
	}
	r.General.RCX = ^uint64(0)
	if in := Decode([]byte{0xf3, 0x48, 0xab}, r, nil); len(in.Operands) != 1 || in.Operands[0].Len <= 0 {
		t.Errorf("impossibly many rounds: %+v", in)
	}
}

func TestAdvancedIsWhatTheRoundsDid(t *testing.T) {
	before, after := registers(), registers()
	in := Decode([]byte{0xf3, 0x48, 0xab}, before, nil)
	after.General.RDI += 24
	if got := Advanced(in.Operands, before, after); len(got) != 1 || got[0].GVA != 0x6000 || got[0].Len != 24 {
		t.Errorf("three rounds: %+v", got)
	}
	if got := Advanced(in.Operands, before, before); len(got) != 0 {
		t.Errorf("no round: %+v", got)
	}
	before.General.RFLAGS = 1 << 10
	in = Decode([]byte{0xf3, 0x48, 0xab}, before, nil)
	after.General.RDI = before.General.RDI - 16
	if got := Advanced(in.Operands, before, after); len(got) != 1 || got[0].GVA != 0x6000-8 || got[0].Len != 16 {
		t.Errorf("two rounds down: %+v", got)
	}
}

// x86asm agrees about lengths and addresses, for all opcodes that it knows, with every prefix.
func TestAgreesWithX86asm(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	r := registers()
	checked := 0
	for _, prefix := range []string{"", "\x66", "\xf2", "\xf3", "\x48", "\x66\x48", "\xf3\x48", "\x67", "\x64", "\x41", "\x4d"} {
		for _, escape := range []string{"", "\x0f", "\x0f\x38", "\x0f\x3a"} {
			for op := range 256 {
				for range 40 {
					code := []byte(prefix + escape + string([]byte{byte(op)}))
					code[len(code)-1] = byte(op)
					for len(code) < 24 {
						code = append(code, byte(random.Uint32()))
					}
					checked += compare(t, code[:15], r)
				}
			}
		}
		if t.Failed() {
			return
		}
	}
	if checked < 50_000 {
		t.Errorf("only %d compared", checked)
	}
}

func compare(t *testing.T, code []byte, r *vcpu.Registers) int {
	in, err := x86asm.Decode(code, 64)
	if err != nil || in.Op == 0 || in.Len == 0 {
		return 0
	}
	switch in.Op {
	case x86asm.XBEGIN, x86asm.UD1, x86asm.UD2, x86asm.CRC32, x86asm.LAR, x86asm.LSL, x86asm.SYSENTER, x86asm.SYSEXIT,
		x86asm.XABORT, x86asm.JMP, x86asm.CALL, x86asm.FWAIT, x86asm.ENTER, x86asm.LCALL, x86asm.LJMP, x86asm.LRET:
		return 0 // without memory operands, or known to be wrong in x86asm with some prefixes
	}
	for _, a := range in.Args {
		if reg, ok := a.(x86asm.Reg); ok && reg >= x86asm.CR0 && reg <= x86asm.DR15 {
			return 0 // always registers, whatever mod says
		}
	}
	got := Decode(code, r, &Environment{XSaveSize: xsaveSize})
	if got.Unknown {
		return 0
	}
	if got.Len != in.Len {
		t.Errorf("% x (%s): %d bytes, x86asm says %d", code, x86asm.IntelSyntax(in, 0, nil), got.Len, in.Len)
		return 0
	}
	for _, a := range in.Args {
		m, ok := a.(x86asm.Mem)
		if !ok || len(got.Operands) == 0 || got.Class == store.String || got.Class == store.Push {
			continue
		}
		if m.Base == 0 && m.Index == 0 || m.Base == x86asm.RIP || in.Op == x86asm.POP || in.Op >= x86asm.BT && in.Op <= x86asm.BTS || m.Segment != 0 || in.AddrSize == 32 {
			continue
		}
		want := value(r, m.Base) + value(r, m.Index)*uint64(m.Scale) + uint64(m.Disp)
		if uint32(got.Operands[0].GVA) != uint32(want) { // x86asm does not extend the sign of a displacement
			t.Errorf("% x (%s): at %#x, want %#x", code, x86asm.IntelSyntax(in, 0, nil), got.Operands[0].GVA, want)
		}
	}
	return 1
}

func value(r *vcpu.Registers, reg x86asm.Reg) uint64 {
	g := &r.General
	switch {
	case reg >= x86asm.RAX && reg <= x86asm.R15:
		return [...]uint64{g.RAX, g.RCX, g.RDX, g.RBX, g.RSP, g.RBP, g.RSI, g.RDI, g.R8, g.R9, g.R10, g.R11, g.R12, g.R13, g.R14, g.R15}[reg-x86asm.RAX]
	}
	return 0
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte{0xf3, 0x48, 0xab})
	f.Add([]byte{0x62, 0xf1, 0xfe, 0x48, 0x7f, 0x47, 0x01})
	f.Fuzz(func(t *testing.T, code []byte) {
		in := Decode(code, registers(), nil)
		if in.Len > MaxLength || in.Len > len(code) {
			t.Errorf("% x: %d bytes", code, in.Len)
		}
		for _, o := range in.Operands {
			if o.Len <= 0 {
				t.Errorf("% x: %+v", code, o)
			}
		}
	})
}
