package emulate

import (
	"testing"

	"ringo/arch/amd64/pagetable"
	"ringo/arch/amd64/store"
	"ringo/arch/amd64/vcpu"
)

// What must not be emulated.
func TestNotEmulated(t *testing.T) {
	for _, c := range []struct {
		name   string
		code   []byte
		change func(r *vcpu.Registers)
	}{
		{"two operands in memory", []byte{0xff, 0x30}, nil}, // push [rax]
		{"rep stosb", []byte{0xf3, 0xaa}, nil},
		{"cmpxchg16b", []byte{0xf0, 0x48, 0x0f, 0xc7, 0x0f}, nil},
		{"pushf", []byte{0x9c}, nil},
		{"a split lock", []byte{0xf0, 0x48, 0xff, 0x40, 0x05}, nil},
		{"movaps that faults", []byte{0x0f, 0x29, 0x40, 0x01}, nil},
		{"vmovdqu", []byte{0xc5, 0xfe, 0x7f, 0x07}, nil},
		{"the guest's own step", []byte{0x48, 0x89, 0x07}, func(r *vcpu.Registers) { r.General.RFLAGS |= flagTF }},
		{"the guest's own watchpoints", []byte{0x48, 0x89, 0x07}, func(r *vcpu.Registers) { r.DR7 = 1 }},
		{"a shadow stack", []byte{0xe8, 0, 0, 0, 0}, func(r *vcpu.Registers) { r.System.CR4 |= cr4CET }},
		{"alignment checks", []byte{0x48, 0x89, 0x07}, func(r *vcpu.Registers) { r.General.RFLAGS |= flagAC; r.System.CR0 |= cr0AM }},
		{"16-bit code", []byte{0x48, 0x89, 0x07}, func(r *vcpu.Registers) { r.System.CS.L = 0 }},
		{"push of 16 bits", []byte{0x66, 0x50}, nil},
		{"call to nowhere", []byte{0xff, 0xd0}, func(r *vcpu.Registers) { r.General.RAX = 1 << 60 }},
	} {
		r := &vcpu.Registers{}
		r.System.CS.L = 1
		r.General.RAX, r.General.RDI, r.General.RSP, r.General.RCX = 0x1000, 0x2000, 0x3000, 4
		if c.change != nil {
			c.change(r)
		}
		in := store.Decode(c.code, r, nil)
		if _, ok := Decode(c.code, r, &in, func(int) ([16]byte, error) { return [16]byte{}, nil }); ok {
			t.Errorf("%s is emulated", c.name)
		}
	}
}

func TestSettledNeedsTheBitsThatAProcessorWouldSet(t *testing.T) {
	for _, c := range []struct {
		entry uint64
		prot  pagetable.Prot
		user  bool
		want  bool
	}{
		{pagetable.AccessedBit | pagetable.DirtyBit, pagetable.Read | pagetable.Write, false, true},
		{pagetable.AccessedBit, pagetable.Read | pagetable.Write, false, false},
		{pagetable.AccessedBit | pagetable.DirtyBit, pagetable.Read, false, false},
		{pagetable.AccessedBit | pagetable.DirtyBit, pagetable.Read | pagetable.Write, true, false},
		{pagetable.AccessedBit | pagetable.DirtyBit, pagetable.Read | pagetable.Write | pagetable.User, true, true},
	} {
		w := pagetable.Walk{N: 1, Prot: c.prot, Result: pagetable.WalkMapped}
		w.Steps[0].Entry = c.entry
		r := &vcpu.Registers{}
		if c.user {
			r.System.CS.Selector = 3
		}
		if got := Settled(&w, r); got != c.want {
			t.Errorf("%+v: %t", c, got)
		}
	}
}
