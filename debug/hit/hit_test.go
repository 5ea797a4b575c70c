package hit

import (
	"strings"
	"testing"

	"ringo/debug/symbols"
)

var _ symbols.Registers = (&Registers{}).Start()

func TestEveryKindAndEngineHasAName(t *testing.T) {
	seen := map[string]bool{}
	for k := Store; k <= Unattributed; k++ {
		if k.String() == "" || seen[k.String()] {
			t.Errorf("kind %d is called %q", k, k)
		}
		seen[k.String()] = true
	}
	for e := DebugRegister; e <= Accessor; e++ {
		if e.String() == "" || seen[e.String()] {
			t.Errorf("engine %d is called %q", e, e)
		}
		seen[e.String()] = true
	}
	if Kind(200).String() != "200" || Delivery.ByInstruction() || !System.ByInstruction() || Device.ByInstruction() {
		t.Error("kinds beyond the instructions")
	}
}

func TestSilentMeansTheSameBytes(t *testing.T) {
	for _, c := range []struct {
		old, new string
		access   Access
		want     bool
	}{
		{"\x00\x00", "\x00\x00", Written, true},
		{"\x00\x01", "\x00\x00", Written, false},
		{"\x01", "\x01", Read, true},
	} {
		w := Write{Old: []byte(c.old), New: []byte(c.new), Access: c.access}
		if w.Settle(); w.Silent != c.want {
			t.Errorf("%q -> %q (%v): silent %t", c.old, c.new, c.access, w.Silent)
		}
	}
}

func TestTheLineSaysWho(t *testing.T) {
	w := Write{Seq: 3, VCPU: 1, PC: 0x1234, Instruction: "mov [rax], rbx", GPA: 0x5000, Len: 1, Old: []byte{1}, New: []byte{2}}
	if s := w.String(); !strings.Contains(s, "vCPU 1 at 0x1234: mov [rax], rbx") || !strings.Contains(s, "[01] -> [02]") {
		t.Error(s)
	}
	w.Kind, w.Source = Device, "virtio-block, queue 0, head 12"
	if s := w.String(); !strings.Contains(s, "device (virtio-block, queue 0, head 12)") {
		t.Error(s)
	}
	if s := (Counters{Hits: 2}).String(); s != "2 hits, 0 suppressed, 0 elsewhere on watched pages, 0 lost" {
		t.Error(s)
	}
}
