package nucleus

import (
	"debug/elf"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/arch/x86/x86asm"
)

// The roots of the code that runs on nucleus stacks. Methods that are only reached through an
// interface are named here, because the walk follows direct calls.
var nucleusRoots = []string{
	"ringo/guestkernel/nucleus.boot", "ringo/guestkernel/nucleus.start", "ringo/guestkernel/nucleus.handleSyscall",
	"ringo/guestkernel/nucleus.handleException", "ringo/guestkernel/nucleus.handleInterrupt", "ringo/guestkernel/nucleus.handleFatal",
	"ringo/guestkernel/nucleus.tables.Table", "ringo/guestkernel/nucleus.tables.AllocTable", "ringo/guestkernel/nucleus.tables.FreeTable",
	"ringo/guestkernel/nucleus.releaseLeaf",
}

// What the runtime may be asked for there: moving and comparing memory, and the ends of the
// world, which with a nil g.m fault at once and are reported.
var allowedRuntime = []string{
	"runtime.memmove", "runtime.memclrNoHeapPointers", "runtime.memequal", "runtime.duffzero", "runtime.duffcopy",
	"runtime.morestack", "runtime.morestack_noctxt", "runtime.panicBounds", "runtime.panicdivide", "runtime.panicshift",
	"runtime.panicwrap", "runtime.panicmem", "runtime.memequal8", "runtime.memequal64", "runtime.unreachableMethod",
	"math/bits.Div64", "runtime.ifaceeq", "runtime.panicunsafestringlen", "runtime.panicunsafestringnilptr", "runtime.panicunsafeslicelen", "runtime.panicunsafeslicenilptr",
}

func allowed(name string) (follow, ok bool) {
	for _, p := range []string{"ringo/guestkernel/nucleus.", "ringo/arch/", "ringo/internal/pagetable.", "ringo/internal/tracewindow.", "type:.eq."} {
		if strings.HasPrefix(name, p) {
			return true, true
		}
	}
	base := strings.TrimSuffix(name, ".abi0")
	for _, p := range []string{"runtime.panicBounds", "runtime.duff"} {
		if strings.HasPrefix(base, p) {
			return false, true
		}
	}
	return false, slices.Contains(allowedRuntime, base)
}

// TestNucleusCodeNeverLeavesTheNucleus walks the compiled kernel from the handlers through every
// direct call and fails on whatever would need the Go runtime: allocation, write barriers, defer,
// maps, interface conversions, locks.
func TestNucleusCodeNeverLeavesTheNucleus(t *testing.T) {
	// What the entry code calls.
	entered := map[string][]string{
		"amd64": {"boot", "start", "trapped", "fatal"},
		"arm64": {"boot", "start", "trapSyscall", "exception", "interrupt", "fatal"},
	}
	for _, arch := range []string{"amd64", "arm64"} {
		t.Run(arch, func(t *testing.T) {
			t.Parallel()
			f := buildKernel(t, arch)
			funcs, byName := functions(t, f)
			roots := slices.Clone(nucleusRoots)
			for _, n := range entered[arch] {
				roots = append(roots, "ringo/arch/"+arch+"/ring0."+n)
			}
			caller := map[string]string{}
			var queue []string
			for _, r := range roots {
				if byName[r] == nil {
					if !strings.Contains(r, "tables.") { // inlined methods may be gone
						t.Errorf("root %s is not in the binary: is the list stale?", r)
					}
					continue
				}
				caller[r] = "a handler"
				queue = append(queue, r)
			}
			walked := 0
			for len(queue) > 0 {
				name := queue[0]
				queue = queue[1:]
				walked++
				for _, callee := range callees(t, arch, byName[name], funcs) {
					if _, seen := caller[callee]; seen {
						continue
					}
					caller[callee] = name
					follow, ok := allowed(callee)
					if !ok {
						t.Errorf("%s is called from %s", callee, path(caller, name))
					}
					if follow {
						queue = append(queue, callee)
					}
				}
			}
			if walked < 60 {
				t.Errorf("only %d functions walked: the walk has lost its way", walked)
			}
			t.Logf("%d functions walked", walked)
		})
	}
}

// TestKernelImageIsSmall: the image is memory that nobody else can have, except crypto's scratch buffer, which unusedImage expects at the end.
func TestKernelImageIsSmall(t *testing.T) {
	const most = 16 << 20
	for _, arch := range []string{"amd64", "arm64"} {
		f := buildKernel(t, arch)
		var end, start uint64
		for _, p := range f.Progs {
			if p.Type == elf.PT_LOAD {
				if start == 0 {
					start = p.Vaddr
				}
				end = p.Vaddr + p.Memsz
			}
		}
		if end-start-fipsScratch > most {
			t.Errorf("%s: the kernel occupies %d bytes of memory, more than %d: see go tool nm -size -sort size", arch, end-start-fipsScratch, most)
		}
		symbols, err := f.Symbols()
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, s := range symbols {
			if s.Name == "crypto/internal/fips140/drbg.memory" {
				found = true
				if s.Size != fipsScratch || end-(s.Value+s.Size) >= pageSize {
					t.Errorf("%s: %s has %d bytes at %#x, the image ends at %#x: unusedImage would give away something else", arch, s.Name, s.Size, s.Value, end)
				}
			}
		}
		if !found {
			t.Errorf("%s: no scratch buffer in the kernel: unusedImage must go", arch)
		}
	}
}

// TestWalkSeesForbiddenCalls: the walk above must notice what it exists for. api.go allocates.
func TestWalkSeesForbiddenCalls(t *testing.T) {
	f := buildKernel(t, "amd64")
	funcs, byName := functions(t, f)
	fn := byName["ringo/guestkernel/nucleus.OpenIRQ"]
	if fn == nil {
		t.Skip("OpenIRQ is not linked into this kernel")
	}
	for _, c := range callees(t, "amd64", fn, funcs) {
		if _, ok := allowed(c); !ok {
			return
		}
	}
	t.Error("no forbidden call found in OpenIRQ, which allocates")
}

func path(caller map[string]string, name string) string {
	var b strings.Builder
	for n := 0; name != "" && n < 20; n++ {
		fmt.Fprintf(&b, "%s < ", name)
		name = caller[name]
	}
	return strings.TrimSuffix(b.String(), " < ")
}

func buildKernel(t *testing.T, arch string) *elf.File {
	t.Helper()
	out := filepath.Join(t.TempDir(), "ringo.elf")
	cmd := exec.Command("go", "build", "-buildmode=pie", "-ldflags=-E=ringo/arch/"+arch+"/ring0.entry", "-o", out, "ringo/guestkernel")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the %s kernel: %v\n%s", arch, err, b)
	}
	f, err := elf.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

type function struct {
	name string
	addr uint64
	code []byte
}

func functions(t *testing.T, f *elf.File) (sorted []function, byName map[string]*function) {
	t.Helper()
	text := f.Section(".text")
	code, err := text.Data()
	if err != nil {
		t.Fatal(err)
	}
	syms, err := f.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	byName = map[string]*function{}
	for _, s := range syms {
		if elf.ST_TYPE(s.Info) == elf.STT_FUNC && s.Value >= text.Addr && s.Value+s.Size <= text.Addr+text.Size {
			off := s.Value - text.Addr
			sorted = append(sorted, function{s.Name, s.Value, code[off : off+s.Size]})
		}
	}
	slices.SortFunc(sorted, func(a, b function) int { return int(int64(a.addr) - int64(b.addr)) })
	for i := range sorted {
		byName[sorted[i].name] = &sorted[i]
	}
	return sorted, byName
}

// callees are the functions that fn calls or jumps to directly.
func callees(t *testing.T, arch string, fn *function, funcs []function) (names []string) {
	t.Helper()
	var targets []uint64
	if arch == "amd64" {
		for off := 0; off < len(fn.code); {
			inst, err := x86asm.Decode(fn.code[off:], 64)
			if err != nil {
				off++ // an instruction the decoder does not know, or bytes of a table
				continue
			}
			off += inst.Len
			if rel, ok := inst.Args[0].(x86asm.Rel); ok {
				targets = append(targets, fn.addr+uint64(off)+uint64(int64(rel)))
			}
		}
	} else {
		for off := 0; off+4 <= len(fn.code); off += 4 {
			w := binary.LittleEndian.Uint32(fn.code[off:])
			if w>>26 == 0b000101 || w>>26 == 0b100101 { // B, BL (Arm ARM C6.2)
				targets = append(targets, fn.addr+uint64(off)+uint64(int64(int32(w<<6)>>6)*4))
			}
		}
	}
	for _, a := range targets {
		if a >= fn.addr && a < fn.addr+uint64(len(fn.code)) {
			continue
		}
		i, exact := slices.BinarySearchFunc(funcs, a, func(f function, a uint64) int { return int(int64(f.addr) - int64(a)) })
		if !exact {
			i--
		}
		if i >= 0 && !slices.Contains(names, funcs[i].name) {
			names = append(names, funcs[i].name)
		}
	}
	return names
}
