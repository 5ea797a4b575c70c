package report

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	gokvm "github.com/bobuhiro11/gokvm/kvm"

	amd64disasm "ringo/arch/amd64/disasm"
	amd64pt "ringo/arch/amd64/pagetable"
	amd64 "ringo/arch/amd64/vcpu"
	arm64disasm "ringo/arch/arm64/disasm"
	arm64pt "ringo/arch/arm64/pagetable"
	arm64 "ringo/arch/arm64/vcpu"
	"ringo/debug/symbols"
	"ringo/internal/kvm"
	"ringo/internal/pagetable"
)

var update = flag.Bool("update", false, "write the golden files")

func buildCrash(t testing.TB, arch, entry, out string) {
	t.Helper()
	cmd := exec.Command("go", "build", "-trimpath", "-buildmode=pie", "-ldflags=-E="+entry, "-o", out, "./testdata/crash")
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH="+arch, "CGO_ENABLED=0", "GOFLAGS=")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
}

// window is the guest memory of a synthetic state: byte ranges by GVA.
type window map[uint64][]byte

func (w window) read(gva uint64, n int) []byte {
	for base, b := range w {
		if gva >= base && gva-base < uint64(len(b)) {
			b = b[gva-base:]
			return b[:min(n, len(b))]
		}
	}
	return nil
}

func words(v ...uint64) []byte {
	var b []byte
	for _, x := range v {
		b = binary.LittleEndian.AppendUint64(b, x)
	}
	return b
}

// normalize removes what changes with the toolchain: addresses in the image and its bytes.
var (
	imageAddress = regexp.MustCompile(`\b(0x)?(ffffffff80|(0000)?80004)[0-9a-f]+`)
	imageBytes   = regexp.MustCompile(`(?m)^( (?:  |=>) ADDR  )(?:[0-9a-f]{2} )+ +`)
	imageOffset  = regexp.MustCompile(`\+0x[0-9a-f]+( \(|>)`)
)

func normalize(s string) string {
	s = imageAddress.ReplaceAllString(s, "ADDR")
	s = imageBytes.ReplaceAllString(s, "${1}")
	return imageOffset.ReplaceAllString(s, "+OFF$1")
}

// TestGolden is a whole report on each architecture, from a state made by hand: the crash
// kernel's inner calls load, which faults on an unmapped address.
func TestGolden(t *testing.T) {
	const pageTables = 0x10000
	for _, arch := range []string{"amd64", "arm64"} {
		t.Run(arch, func(t *testing.T) {
			elf := filepath.Join(t.TempDir(), "crash.elf")
			buildCrash(t, arch, "main.entryFault", elf)
			base := uint64(0xffff_ffff_8020_0000)
			if arch == "arm64" {
				base = 0x8000_4020_0000
			}
			f, err := os.Open(elf)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			table, err := symbols.Load(f, base)
			if err != nil {
				t.Fatal(err)
			}
			find := func(name string) uint64 {
				at, ok := table.Find(name)
				if !ok {
					t.Fatalf("no %s", name)
				}
				return at
			}
			stack := base + 0xf00000
			mem := window{stack: words(stack+0x40, find("main.outer")+13, 7, 0, 0, 0, 0, 0, 0, find("main.start")+13)}
			in := &Input{Cause: CauseExit, Reason: kvm.ReasonShutdown, VCPU: 1, Symbols: table}
			regs := func(pc, fault uint64) Registers {
				r := &amd64.Registers{General: gokvm.Regs{RIP: pc, RSP: stack, RBP: stack, RAX: fault, RFLAGS: 2}}
				r.System.CR0, r.System.CR2, r.System.CR3 = 0x80000011, fault, pageTables
				return r
			}
			walk := amd64pt.ReadWalk
			code := []byte{0x48, 0x8b, 0x00, 0xc3, 0xcc, 0xcc, 0xcc, 0xcc} // mov rax, [rax]; ret
			in.Disassemble, in.CallTarget, in.CallLength = amd64disasm.Decode, amd64disasm.CallTarget, amd64disasm.CallLength
			if arch == "arm64" {
				regs = func(pc, fault uint64) Registers {
					r := &arm64.Registers{ProgramCounter: pc, SPEL1: stack, PSTATE: 0x3c5, FAR: fault, TTBR0: pageTables, ESR: 0x96000004}
					r.X[0], r.X[29] = fault, stack
					return r
				}
				walk = arm64pt.ReadWalk
				code = []byte{0x00, 0x00, 0x40, 0xf9, 0xc0, 0x03, 0x5f, 0xd6, 0, 0, 0, 0} // ldr x0, [x0]; ret
				in.Disassemble, in.CallTarget, in.CallLength = arm64disasm.Decode, arm64disasm.CallTarget, arm64disasm.CallLength
			}
			pc := find("main.load") + 8
			mem[pc] = code
			empty := func(gva uint64) pagetable.Walk {
				return walk(pageTables, gva, func(uint64) (uint64, bool) { return 0, true })
			}
			in.CPUs = []CPU{
				{ID: 0, Err: errors.New("KVM_GET_REGS: input/output error")},
				{
					ID: 1, Registers: regs(pc, 0x7bad_0000_1230), Read: mem.read, Walk: empty, Total: 1234,
					Exits: []string{"    1.000000 ms  IO write port 0x3f8, 1 bytes, value 0x72", "    2.000000 ms  SHUTDOWN code 0x0"},
				},
			}
			var b strings.Builder
			if err := Write(&b, in); err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", arch+".golden")
			got := normalize(b.String())
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(want, []byte(got)) {
				t.Errorf("report differs from %s (go test -update writes it):\n%s", golden, got)
			}
		})
	}
}

// state is registers of no architecture.
type state struct {
	pc, sp, fp, fault uint64
	user, reset       bool
}

func (s state) PC() uint64           { return s.pc }
func (s state) SP() uint64           { return s.sp }
func (s state) FP() uint64           { return s.fp }
func (s state) Link() uint64         { return 0 }
func (s state) FaultAddress() uint64 { return s.fault }
func (s state) User() bool           { return s.user }
func (s state) WasReset() bool       { return s.reset }
func (s state) String() string       { return "all registers" }

func TestAdviceFitsTheEvidence(t *testing.T) {
	const good = 0xffff_8000_0000_1000 // mapped, and its neighbours
	fine := state{pc: good, sp: good + 0x800, fault: good}
	for name, row := range map[string]struct {
		in   Input
		s    state
		want string
	}{
		"panic":                     {Input{Cause: CausePanic}, fine, "own message"},
		"hang":                      {Input{Cause: CauseHang}, fine, "lost wake-up"},
		"early exception":           {Input{Cause: CauseEarly}, fine, "no exception vectors yet"},
		"registers lost":            {Input{Reason: kvm.ReasonShutdown}, state{reset: true}, "is lost"},
		"cannot emulate":            {Input{Reason: kvm.ReasonInternalError}, fine, "vmm doctor"},
		"entry refused":             {Input{Reason: kvm.ReasonFailEntry}, fine, "vmm doctor"},
		"no device":                 {Input{Reason: kvm.ReasonMMIO, Addr: 0x1234}, fine, "GPA 0x1234"},
		"no port":                   {Input{Reason: kvm.ReasonIO}, fine, "I/O port"},
		"not described (arm64)":     {Input{Err: syscall.ENOSYS}, fine, "does not describe"},
		"memory not accessible":     {Input{Err: syscall.EFAULT}, fine, "protected"},
		"jump to nil":               {Input{Reason: kvm.ReasonShutdown}, state{sp: good + 0x800}, "returned to address 0"},
		"jump to nowhere":           {Input{Reason: kvm.ReasonShutdown}, state{pc: 0x5555_0000, sp: good + 0x800}, "nothing is mapped"},
		"stack overflow":            {Input{Reason: kvm.ReasonShutdown}, state{pc: good, sp: good}, "stack overflow"},
		"stack pointer wild":        {Input{Reason: kvm.ReasonShutdown}, state{pc: good, sp: 0x10}, "stack overflow"},
		"fault not delivered":       {Input{Reason: kvm.ReasonShutdown}, state{pc: good, sp: good + 0x800, fault: 0x10}, "could not be delivered"},
		"something else":            {Input{Reason: kvm.ReasonShutdown}, fine, "descriptor tables"},
		"a debug event of nobody's": {Input{Reason: kvm.ReasonDebug}, fine, "debug"},
	} {
		t.Run(name, func(t *testing.T) {
			in := row.in
			in.Disassemble, in.CallTarget = amd64disasm.Decode, amd64disasm.CallTarget
			in.CPUs = []CPU{{Registers: row.s, Read: window{good: make([]byte, 0x1000)}.read, Walk: func(gva uint64) pagetable.Walk {
				w := pagetable.Walk{VA: gva, Result: pagetable.WalkNotPresent}
				if gva&^0xfff == good {
					w.Result = pagetable.WalkMapped
				}
				return w
			}}}
			var b strings.Builder
			if err := Write(&b, &in); err != nil {
				t.Fatal(err)
			}
			_, next, _ := strings.Cut(b.String(), "\nnext: ")
			if !strings.Contains(next, row.want) {
				t.Errorf("advice %q does not say %q", next, row.want)
			}
		})
	}
}

// Whatever the registers hold, a report comes out.
func TestWildStatesGiveReports(t *testing.T) {
	for _, wild := range []uint64{0, 1, 7, 0xfff, 1 << 47, 1<<63 - 1, 1 << 63, ^uint64(0) - 7, ^uint64(0)} {
		for _, mem := range []func(uint64, int) []byte{
			func(uint64, int) []byte { return nil },
			func(_ uint64, n int) []byte { return make([]byte, n) },
			func(_ uint64, n int) []byte { return bytes.Repeat([]byte{0xff}, n) },
			func(_ uint64, n int) []byte { return make([]byte, n/2) },
		} {
			for _, user := range []bool{false, true} {
				in := &Input{Reason: kvm.ReasonShutdown, SymbolsErr: symbols.ErrNone, Disassemble: amd64disasm.Decode, CallTarget: amd64disasm.CallTarget, CallLength: 5}
				in.CPUs = []CPU{{Registers: state{pc: wild, sp: wild, fp: wild, fault: wild, user: user}, Read: mem, Walk: func(gva uint64) pagetable.Walk {
					return amd64pt.ReadWalk(wild, gva, func(uint64) (uint64, bool) { return wild, true })
				}}}
				var b strings.Builder
				if err := Write(&b, in); err != nil || b.Len() > 16<<10 || !strings.Contains(b.String(), "no names: no symbols") {
					t.Fatalf("%#x: %v, %d bytes", wild, err, b.Len())
				}
			}
		}
	}
}
