package emulate

import (
	"bytes"
	"os"
	"testing"

	"ringo/arch/arm64/vcpu"
	"ringo/internal/kvmtest"
	"ringo/internal/store"
)

func TestMain(m *testing.M) { kvmtest.Main(m) }

// TestAgainstTheProcessor needs a processor of this architecture.
func TestInTheHostedMachine(t *testing.T) {
	if os.Getenv("RINGO_E2E") == "" {
		t.Skip("starts a machine: run `make e2e`")
	}
	var out bytes.Buffer
	status, err := kvmtest.Run(t.Context(), "arm64", kvmtest.Build(t, "arm64", "ringo/arch/arm64/emulate"), []string{"-test.run", "^TestAgainst", "-test.v"}, nil, &out)
	t.Logf("%s", out.Bytes())
	if err != nil || status != 0 || !bytes.Contains(out.Bytes(), []byte("--- PASS: TestAgainstTheProcessor")) {
		t.Errorf("status %d, %v", status, err)
	}
}

// What must not be emulated: exclusive stores above all.
func TestNotEmulated(t *testing.T) {
	one := []store.Operand{{GVA: 0x1000, Len: 8, Write: true}}
	for _, c := range []struct {
		name   string
		word   uint32
		pstate uint64
		in     store.Instruction
	}{
		{"stxr", 0xc8007c20, 0, store.Instruction{Len: 4, Operands: one, Attempt: true}},
		{"stlxr without its loop", 0xc800fc20, 0, store.Instruction{Len: 4, Operands: one}},
		{"casp", 0x48207c20, 0, store.Instruction{Len: 4, Operands: []store.Operand{{GVA: 0x1000, Len: 16, Write: true}}}},
		{"sttr", 0xf8000820, 0, store.Instruction{Len: 4, Operands: one}},
		{"the guest's own step", 0xf9000020, pstateSS, store.Instruction{Len: 4, Operands: one}},
		{"ldadd across", 0xf8200020, 0, store.Instruction{Len: 4, Operands: []store.Operand{{GVA: 0x1004, Len: 8, Write: true}}}},
		{"ldr", 0xf9400020, 0, store.Instruction{Len: 4, Operands: []store.Operand{{GVA: 0x1000, Len: 8, Read: true}}}},
		{"st1", 0x4c007020, 0, store.Instruction{Len: 4, Operands: []store.Operand{{GVA: 0x1000, Len: 16, Write: true}}}},
	} {
		code := []byte{byte(c.word), byte(c.word >> 8), byte(c.word >> 16), byte(c.word >> 24)}
		if _, ok := Decode(code, &vcpu.Registers{PSTATE: c.pstate}, &c.in, nil); ok {
			t.Errorf("%s is emulated", c.name)
		}
	}
}
