package store

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"golang.org/x/arch/arm64/arm64asm"

	"ringo/arch/arm64/vcpu"
	"ringo/internal/store"
)

func registers() *vcpu.Registers {
	r := &vcpu.Registers{PSTATE: 5, SPEL1: 0x7000, ProgramCounter: 0x400000}
	for i := range r.X {
		r.X[i] = uint64(0x10000 * (i + 1))
	}
	return r
}

func code(w uint32) []byte { return binary.LittleEndian.AppendUint32(nil, w) }

func TestStores(t *testing.T) {
	for _, c := range []struct {
		name  string
		word  uint32
		class store.Class
		want  store.Operand
	}{
		{"STR X0, [X1]", 0xf9000020, store.Plain, store.Operand{GVA: 0x20000, Len: 8, Write: true}},
		{"STR X0, [X1,#8]", 0xf9000420, store.Plain, store.Operand{GVA: 0x20008, Len: 8, Write: true}},
		{"STRB W0, [SP,#1]", 0x390007e0, store.Plain, store.Operand{GVA: 0x7001, Len: 1, Write: true}},
		{"STR X30, [SP,#-16]!", 0xf81f0ffe, store.Plain, store.Operand{GVA: 0x6ff0, Len: 8, Write: true}},
		{"STR X0, [X1],#8", 0xf8008420, store.Plain, store.Operand{GVA: 0x20000, Len: 8, Write: true}},
		{"STUR W0, [X1,#-4]", 0xb81fc020, store.Plain, store.Operand{GVA: 0x1fffc, Len: 4, Write: true}},
		{"STR W0, [X1,X2,LSL #2]", 0xb8227820, store.Plain, store.Operand{GVA: 0x20000 + 0x30000*4, Len: 4, Write: true}},
		{"LDR X0, [X1]", 0xf9400020, store.Plain, store.Operand{GVA: 0x20000, Len: 8, Read: true}},
		{"LDRSW X0, [X1]", 0xb9800020, store.Plain, store.Operand{GVA: 0x20000, Len: 4, Read: true}},
		{"STP X29, X30, [SP,#-32]!", 0xa9be7bfd, store.Plain, store.Operand{GVA: 0x6fe0, Len: 16, Write: true}},
		{"STP X0, X1, [X2],#16", 0xa8810440, store.Plain, store.Operand{GVA: 0x30000, Len: 16, Write: true}},
		{"STP Q0, Q1, [X0,#32]", 0xad010400, store.Vector, store.Operand{GVA: 0x10020, Len: 32, Write: true}},
		{"STNP X0, X1, [X2]", 0xa8000440, store.Plain, store.Operand{GVA: 0x30000, Len: 16, Write: true}},
		{"LDP W0, W1, [X2]", 0x29400440, store.Plain, store.Operand{GVA: 0x30000, Len: 8, Read: true}},
		{"STR Q0, [X1,#16]", 0x3d800420, store.Vector, store.Operand{GVA: 0x20010, Len: 16, Write: true}},
		{"STR D0, [X1]", 0xfd000020, store.Vector, store.Operand{GVA: 0x20000, Len: 8, Write: true}},
		{"ST1 {V0.16B, V1.16B, V2.16B, V3.16B}, [X0]", 0x4c002000, store.Vector, store.Operand{GVA: 0x10000, Len: 64, Write: true}},
		{"ST1 {V0.16B}, [X0],#16", 0x4c9f7000, store.Vector, store.Operand{GVA: 0x10000, Len: 16, Write: true}},
		{"ST1 {V0.D}[1], [X0]", 0x4d008400, store.Vector, store.Operand{GVA: 0x10000, Len: 8, Write: true}},
		{"ST4 {V0.S,V1.S,V2.S,V3.S}[1], [X0]", 0x0d20b000, store.Vector, store.Operand{GVA: 0x10000, Len: 16, Write: true}},
		{"STLR X0, [X1]", 0xc89ffc20, store.Plain, store.Operand{GVA: 0x20000, Len: 8, Write: true}},
		{"STXR W2, X0, [X1]", 0xc8027c20, store.Atomic, store.Operand{GVA: 0x20000, Len: 8, Write: true}},
		{"LDAXR X0, [X1]", 0xc85ffc20, store.Atomic, store.Operand{GVA: 0x20000, Len: 8, Read: true}},
		{"STXP W2, X3, X4, [X1]", 0xc8221023, store.Atomic, store.Operand{GVA: 0x20000, Len: 16, Write: true}},
		{"CASAL X0, X2, [X1]", 0xc8e0fc22, store.Atomic, store.Operand{GVA: 0x20000, Len: 8, Read: true, Write: true}},
		{"CASP X0, X1, X2, X3, [X4]", 0x48207c82, store.Atomic, store.Operand{GVA: 0x50000, Len: 16, Read: true, Write: true}},
		{"LDADDAL W0, W2, [X1]", 0xb8e00022, store.Atomic, store.Operand{GVA: 0x20000, Len: 4, Read: true, Write: true}},
		{"LDADDA X0, X2, [X1]", 0xf8a00022, store.Atomic, store.Operand{GVA: 0x20000, Len: 8, Read: true, Write: true}},
		{"SWPAL X0, X2, [X1]", 0xf8e08022, store.Atomic, store.Operand{GVA: 0x20000, Len: 8, Read: true, Write: true}},
		{"DC ZVA, X3", 0xd50b7423, store.ZeroBlock, store.Operand{GVA: 0x40000, Len: 64, Write: true}},
		{"LDR X0, .+8", 0x58000040, store.Plain, store.Operand{GVA: 0x400008, Len: 8, Read: true}},
	} {
		in := Decode(code(c.word), registers(), &Environment{ZeroBlock: 64})
		if in.Unknown || in.Class != c.class || len(in.Operands) != 1 || in.Operands[0] != c.want {
			t.Errorf("%s: %+v", c.name, in)
		}
		if text, err := arm64asm.Decode(code(c.word)); err == nil && !strings.HasPrefix(c.name, strings.Fields(text.String())[0]) && !strings.HasPrefix(c.name, "DC") {
			t.Errorf("%s is %s", c.name, text)
		}
	}
}

// For random words that arm64asm knows: stores write, loads read, everything else does neither.
func TestAgreesWithArm64asm(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	counts := map[bool]int{}
	for range 2_000_000 {
		w := random.Uint32()
		in, err := arm64asm.Decode(code(w))
		if err != nil {
			continue
		}
		name := in.Op.String()
		got := Decode(code(w), registers(), &Environment{ZeroBlock: 64})
		if got.Unknown || strings.HasPrefix(name, "SYS") || name == "DC" || strings.HasPrefix(name, "PRF") {
			continue
		}
		both := strings.HasPrefix(name, "CAS") || strings.HasPrefix(name, "SWP")
		write := strings.HasPrefix(name, "ST") || both
		read := strings.HasPrefix(name, "LD") || both
		reads, writes := false, false
		for _, o := range got.Operands {
			reads, writes = reads || o.Read, writes || o.Write
		}
		if reads != read || writes != write {
			t.Fatalf("%08x (%s): %+v", w, in, got)
		}
		counts[read || write]++
	}
	if counts[true] < 10_000 || counts[false] < 10_000 {
		t.Errorf("compared %v", counts)
	}
}

// The loop: ldxr x0, [x1]; cmp x0, x3; b.ne out; stxr w2, x4, [x1]; cbnz w2, loop.
func TestWaysOutOfAnExclusiveLoop(t *testing.T) {
	r := registers()
	read := func(gva uint64, n int) []byte {
		b := make([]byte, n)
		for i, w := range []uint32{0xc85f7c20, 0xeb03001f, 0x540000a1} {
			binary.LittleEndian.PutUint32(b[n-12+4*i:], w)
		}
		return b
	}
	in := Decode(code(0xc8027c24), r, &Environment{Code: read})
	want := []uint64{r.PC() + 4, r.PC() - 4 + 5*4}
	if !in.Attempt || in.Status != 2 || !slices.Equal(in.Until, want) {
		t.Errorf("%+v, want to run until %#x", in, want)
	}
	r.X[2] = 1
	if !Failed(&in, r) {
		t.Error("status 1 is no success")
	}
	if r.X[2] = 0; Failed(&in, r) {
		t.Error("status 0 is no failure")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(uint32(0xf9000020))
	f.Fuzz(func(t *testing.T, w uint32) {
		for _, o := range Decode(code(w), registers(), nil).Operands {
			if o.Len <= 0 {
				t.Errorf("%08x: %+v", w, o)
			}
		}
	})
}
