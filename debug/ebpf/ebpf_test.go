package ebpf

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cilium/ebpf/asm"
)

const amd64Exit = `name: kvm_exit
ID: 1200
format:
	field:unsigned short common_type;	offset:0;	size:2;	signed:0;
	field:int common_pid;	offset:4;	size:4;	signed:1;

	field:unsigned int exit_reason;	offset:8;	size:4;	signed:0;
	field:unsigned long guest_rip;	offset:16;	size:8;	signed:0;
	field:u32 isa;	offset:24;	size:4;	signed:0;
	field:u64 info1;	offset:32;	size:8;	signed:0;

print fmt: "vcpu %u reason %s%s%s rip 0x%lx", REC->vcpu_id, (REC->isa == 1) ? __print_symbolic(REC->exit_reason & 0xffff, { 0, "EXCEPTION_NMI" }, { 12, "HLT" }, { 48, "EPT_VIOLATION" }) : __print_symbolic(REC->exit_reason, { 0x000, "read_cr0" }, { 0x078, "hlt" }, { 0x400, "npf" }), REC->guest_rip
`

const arm64Exit = `name: kvm_exit
format:
	field:int ret;	offset:8;	size:4;	signed:1;
	field:unsigned int esr_ec;	offset:12;	size:4;	signed:0;
	field:unsigned long vcpu_pc;	offset:16;	size:8;	signed:0;

print fmt: "%s: HSR_EC: 0x%04x (%s), PC: 0x%016lx", __print_symbolic(REC->ret & ~(1U << 31), {0, "IRQ" }, {1, "SERROR" }, {2, "TRAP" }), REC->esr_ec, __print_symbolic(REC->esr_ec, { 0x01, "WFx" }, { 0x16, "HVC64" }, { 0x24, "DABT_LOW" })
`

func TestFormats(t *testing.T) {
	f, err := parseFormat(amd64Exit)
	if err != nil {
		t.Fatal(err)
	}
	if at, err := f.need("exit_reason", 4, 8); err != nil || at != (field{8, 4}) {
		t.Errorf("exit_reason %v, %v", at, err)
	}
	if _, err := f.need("exit_reason", 8); err == nil {
		t.Error("a field of another size is taken")
	}
	s := &Sampler{format: f, reason: f.fields["exit_reason"], detail: f.fields["isa"]}
	for key, want := range map[uint64]string{1<<detailShift | 12: "HLT", 2<<detailShift | 0x78: "hlt", 2<<detailShift | 0x400: "npf", 2<<detailShift | 0x999: "0x999", 1<<detailShift | 0x80000030: "EPT_VIOLATION"} {
		if got := s.name(key); got != want {
			t.Errorf("reason %#x is %s, want %s", key, got, want)
		}
	}
	if f, err = parseFormat(arm64Exit); err != nil {
		t.Fatal(err)
	}
	s = &Sampler{format: f, arm: true}
	for key, want := range map[uint64]string{0: "IRQ", 0x24<<detailShift | 2: "DABT_LOW", 0x16<<detailShift | 2: "HVC64"} {
		if got := s.name(key); got != want {
			t.Errorf("reason %#x is %s, want %s", key, got, want)
		}
	}
	for _, bad := range []string{"", "print fmt: x", "\tfield:int a;\toffset:99999999999999999999;\tsize:4;"} {
		if _, err := parseFormat(bad); err == nil {
			t.Errorf("%q is taken for a format", bad)
		}
	}
}

func FuzzFormat(f *testing.F) {
	f.Add(amd64Exit)
	f.Add(arm64Exit)
	f.Fuzz(func(_ *testing.T, text string) { _, _ = parseFormat(text) })
}

// Without tracefs one line says so.
func TestUnavailable(t *testing.T) {
	before := tracefs
	defer func() { tracefs = before }()
	tracefs = []string{filepath.Join(t.TempDir(), "none")}
	_, err := Open(os.Getpid())
	if err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "tracefs") {
		t.Errorf("Open: %v", err)
	}
}

// All instructions exist.
func TestProgramsAssemble(t *testing.T) {
	s := &Sampler{pid: 7, reason: field{8, 4}, detail: field{24, 4}}
	for name, p := range map[string]asm.Instructions{"exit": s.onExit(), "entry": s.onEntry(), "fault": s.onFault(field{8, 8})} {
		var b bytes.Buffer
		if err := p.Marshal(&b, binary.LittleEndian); err != nil {
			t.Errorf("%s: %v", name, err)
			for i, in := range p {
				t.Logf("%d %v", i, in)
			}
		}
	}
}
