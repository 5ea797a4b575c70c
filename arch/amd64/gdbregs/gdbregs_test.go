package gdbregs

import (
	"bytes"
	"testing"

	"ringo/arch/amd64/vcpu"
)

func TestNumbersAndSizes(t *testing.T) {
	regs := Description.Registers()
	s := &State{Registers: new(vcpu.Registers), Vector: new(vcpu.Vector)}
	for n, want := range map[int]string{PC: "rip", SP: "rsp", FP: "rbp", firstSegment: "cs", firstST: "st0", firstFPU: "fctrl", firstXMM: "xmm0", mxcsr: "mxcsr", firstBase: "fs_base", firstSystem: "cr0"} {
		if regs[n].Name != want {
			t.Errorf("register %d is %s, want %s", n, regs[n].Name, want)
		}
	}
	for n, r := range regs {
		b := s.Get(n)
		if len(b)*8 != r.Bits {
			t.Errorf("%s: %d bytes, described with %d bits", r.Name, len(b), r.Bits)
		}
		changed := bytes.Repeat([]byte{byte(n + 1)}, len(b))
		fixed := r.Group == "system" || r.Group == "float" || n >= firstSegment && n < firstST
		if ok := s.Set(n, changed); ok == fixed {
			t.Errorf("%s: Set = %t", r.Name, ok)
		} else if ok && !bytes.Equal(s.Get(n), changed) {
			t.Errorf("%s: set % x, then get % x", r.Name, changed, s.Get(n))
		}
		if !s.Set(n, s.Get(n)) {
			t.Errorf("%s: writing back what was read fails", r.Name)
		}
	}
	if s.Get(len(regs)) != nil || s.Get(-1) != nil || s.Set(PC, []byte{1}) {
		t.Error("what is no register, or no value of it, is taken")
	}
}

func TestPartial(t *testing.T) {
	s := Partial(1, 2, 3)
	for n := range Description.Registers() {
		if known := s.Get(n) != nil; known != (n == PC || n == SP || n == FP) {
			t.Errorf("register %d known: %t", n, known)
		}
	}
	if s.Get(PC)[0] != 1 || s.Get(SP)[0] != 2 || s.Get(FP)[0] != 3 || s.Set(PC, s.Get(PC)) {
		t.Error("a sleeping task's registers")
	}
}
