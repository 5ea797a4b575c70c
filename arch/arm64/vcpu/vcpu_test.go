package vcpu

import (
	"encoding/binary"
	"testing"
)

// The ids of KVM's register interface, as `KVM_GET_REG_LIST` prints them.
func TestRegisterIDs(t *testing.T) {
	for name, c := range map[string][2]uint64{
		"X0":            {regCore | coreX, 0x6030000000100000},
		"X30":           {regCore | coreX + 60, 0x603000000010003c},
		"SP_EL0":        {regCore | coreSP, 0x603000000010003e},
		"PC":            {regCore | corePC, 0x6030000000100040},
		"PSTATE":        {regCore | corePSTATE, 0x6030000000100042},
		"SP_EL1":        {regCore | coreSPEL1, 0x6030000000100044},
		"ELR_EL1":       {regCore | coreELR, 0x6030000000100046},
		"SPSR_EL1":      {regCore | coreSPSR, 0x6030000000100048},
		"SCTLR_EL1":     {regSCTLR, 0x603000000013c080},
		"CPACR_EL1":     {regCPACR, 0x603000000013c082},
		"TTBR0_EL1":     {regTTBR0, 0x603000000013c100},
		"TTBR1_EL1":     {regTTBR1, 0x603000000013c101},
		"TCR_EL1":       {regTCR, 0x603000000013c102},
		"ESR_EL1":       {regESR, 0x603000000013c290},
		"FAR_EL1":       {regFAR, 0x603000000013c300},
		"MAIR_EL1":      {regMAIR, 0x603000000013c510},
		"VBAR_EL1":      {regVBAR, 0x603000000013c600},
		"TPIDR_EL0":     {regTPEL0, 0x603000000013de82},
		"TPIDR_EL1":     {regTPIDR, 0x603000000013c684},
		"MPIDR_EL1":     {regMPIDR, 0x603000000013c005},
		"ID_AA64MMFR0":  {regMMFR0, 0x603000000013c038},
		"virtual count": {regTimerCount, 0x603000000013df1a},
	} {
		if c[0] != c[1] {
			t.Errorf("%s = %#x, want %#x", name, c[0], c[1])
		}
	}
}

// Each vector's literal load reaches its own word of the early page.
func TestEarlyVectorsReachTheirPage(t *testing.T) {
	const at = DirectMap + RAMBase + 0x12000
	b := EarlyVectors(at)
	for n := range uint64(earlyVectors) {
		w := binary.LittleEndian.Uint32(b[n*vectorSize:])
		if w&0xff00001f != 0x5800001f {
			t.Fatalf("vector %d starts with %#x, not a literal load into XZR", n, w)
		}
		offset := int64(int32(w<<8)>>13) * 4
		target := uint64(int64(at+n*vectorSize) + offset)
		if want := uint64(DirectMap + EarlyPage + n*8); target != want {
			t.Errorf("vector %d loads from %#x, want %#x", n, target, want)
		}
	}
}

func TestEarlyException(t *testing.T) {
	r := &Registers{ProgramCounter: 0x1000 + 4*vectorSize, ELR: 0x8000, SPSR: 0x3c5, ESR: 0x96000005, FAR: 0xdead}
	text := EarlyException(r, 0x1000, nil)
	if r.ProgramCounter != 0x8000 || r.PSTATE != 0x3c5 {
		t.Errorf("PC %#x, PSTATE %#x: not those of the exception", r.ProgramCounter, r.PSTATE)
	}
	if want := "exception (synchronous: data abort, EL1, ESR 0x96000005, FAR 0xdead) before the kernel had set VBAR_EL1"; text != want {
		t.Errorf("text = %q, want %q", text, want)
	}
	// A kernel that touches the page by itself.
	r = &Registers{ProgramCounter: 0x400000}
	if EarlyException(r, 0x1000, nil); r.ProgramCounter != 0x400000 {
		t.Error("PC was changed for an access that no vector made")
	}
}
