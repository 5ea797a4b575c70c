package symbols

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
)

const program = `package main

import "os"

//go:noinline
func inner(n int) int {
	if n > 40 {
		os.Exit(n)
	}
	return n * 2
}

//go:noinline
func outer(n int) int {
	n = inner(n) + 1
	return n
}

func main() { println(outer(len(os.Args))) }
`

// build makes the program a PIE as the kernel is, once an architecture.
var build = func() func(t testing.TB, arch string) string {
	var mu sync.Mutex
	made := map[string]string{}
	return func(t testing.TB, arch string) string {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		if made[arch] != "" {
			return made[arch]
		}
		dir, err := os.MkdirTemp("", "symbols")
		if err != nil {
			t.Fatal(err)
		}
		source := filepath.Join(dir, "program.go")
		if err := os.WriteFile(source, []byte(program), 0o644); err != nil {
			t.Fatal(err)
		}
		out := filepath.Join(dir, "program.elf")
		cmd := exec.Command("go", "build", "-buildmode=pie", "-ldflags=-w", "-o", out, source)
		cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH="+arch, "CGO_ENABLED=0", "GOFLAGS=")
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		made[arch] = out
		return out
	}
}()

const loadedAt = 0xffffffff80200000

func load(t testing.TB, arch string) *Table {
	t.Helper()
	f, err := os.Open(build(t, arch))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	table, err := Load(f, loadedAt)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestLookupNamesFunctionsFilesAndLines(t *testing.T) {
	for _, arch := range []string{"amd64", "arm64"} {
		t.Run(arch, func(t *testing.T) {
			table := load(t, arch)
			at, ok := table.Find("main.inner")
			if !ok || at < loadedAt || at > loadedAt+(16<<20) {
				t.Fatalf("main.inner is at %#x, %v", at, ok)
			}
			s, ok := table.Lookup(at)
			if !ok || s.Function != "main.inner" || s.Offset != 0 || s.Start != at || filepath.Base(s.File) != "program.go" || s.Line != 6 {
				t.Errorf("%+v, %v", s, ok)
			}
			s, ok = table.Lookup(at + 5)
			if !ok || s.Function != "main.inner" || s.Offset != 5 || !strings.HasPrefix(s.String(), "main.inner+0x5 (") {
				t.Errorf("%v, %v", s, ok)
			}
			for _, nowhere := range []uint64{0, 0x401000, loadedAt - 1, loadedAt + 1<<30, ^uint64(0)} {
				if s, ok := table.Lookup(nowhere); ok {
					t.Errorf("%#x is %v", nowhere, s)
				}
			}
			if _, ok := table.Find("main.nothing"); ok {
				t.Error("found what is not there")
			}
		})
	}
}

func TestWithoutALineTableTheSymbolTableServes(t *testing.T) {
	table := load(t, runtime.GOARCH)
	at, _ := table.Find("main.outer")
	table.lines = nil
	if s, ok := table.Lookup(at + 3); !ok || s.Function != "main.outer" || s.Offset != 3 || s.File != "" {
		t.Fatalf("%+v, %v", s, ok)
	}
	if got, ok := table.Find("main.outer"); !ok || got != at {
		t.Fatalf("%#x, %v", got, ok)
	}
}

func TestANilTableKnowsNothing(t *testing.T) {
	var table *Table
	if _, ok := table.Lookup(loadedAt); ok {
		t.Error("found")
	}
	if _, ok := table.Find("main.main"); ok {
		t.Error("found")
	}
	if f := table.Unwind(regs{pc: 1}, Memory{Word: func(uint64) (uint64, bool) { return 0, false }}); len(f) != 1 {
		t.Error(f)
	}
}

type regs struct{ pc, sp, fp, link uint64 }

func (r regs) PC() uint64   { return r.pc }
func (r regs) SP() uint64   { return r.sp }
func (r regs) FP() uint64   { return r.fp }
func (r regs) Link() uint64 { return r.link }

func names(frames []Frame) (out []string) {
	for _, f := range frames {
		out = append(out, f.Symbol.Function)
	}
	return out
}

func TestUnwind(t *testing.T) {
	table := load(t, "amd64")
	inner, _ := table.Find("main.inner")
	outer, _ := table.Find("main.outer")
	mainmain, _ := table.Find("main.main")
	const stack = 0xffffa00000001000
	for name, row := range map[string]struct {
		r     regs
		words map[uint64]uint64
		calls uint64 // where the call before any return address goes
		want  []string
	}{
		"two callers": {
			regs{pc: inner + 20, fp: stack},
			map[uint64]uint64{stack: stack + 64, stack + 8: outer + 16, stack + 64: 0, stack + 72: mainmain + 16},
			0,
			[]string{"main.inner", "main.outer", "main.main"},
		},
		"at the first instruction, return address on the stack": {
			regs{pc: inner, sp: stack - 8, fp: stack},
			map[uint64]uint64{stack - 8: outer + 16, stack: 0, stack + 8: mainmain + 16},
			0,
			[]string{"main.inner", "main.outer", "main.main"},
		},
		"at the first instruction, return address in the link register": {
			regs{pc: inner, link: outer + 16, fp: stack},
			map[uint64]uint64{stack: 0, stack + 8: mainmain + 16},
			0,
			[]string{"main.inner", "main.outer", "main.main"},
		},
		"without a frame, called by a call before the return address": {
			regs{pc: inner + 20, sp: stack - 8, fp: stack},
			map[uint64]uint64{stack - 8: outer + 16, stack: 0, stack + 8: mainmain + 16},
			inner,
			[]string{"main.inner", "main.outer", "main.main"},
		},
		"a local that looks like a return address": {
			regs{pc: inner + 20, sp: stack - 8, fp: stack},
			map[uint64]uint64{stack - 8: outer + 16, stack: 0, stack + 8: mainmain + 16},
			mainmain,
			[]string{"main.inner", "main.main"},
		},
		"a link register that is stored already": {
			regs{pc: inner + 20, link: outer + 16, fp: stack},
			map[uint64]uint64{stack: 0, stack + 8: outer + 16},
			inner,
			[]string{"main.inner", "main.outer"},
		},
		"to another stack, below this one": {
			regs{pc: inner + 20, fp: stack},
			map[uint64]uint64{stack: stack - 4096, stack + 8: outer + 16, stack - 4096: 0, stack - 4088: mainmain + 16},
			0,
			[]string{"main.inner", "main.outer", "main.main"},
		},
		"a loop ends": {
			regs{pc: inner + 20, fp: stack},
			map[uint64]uint64{stack: stack, stack + 8: outer + 16},
			0,
			[]string{"main.inner", "main.outer"},
		},
		"a return address that is none ends it": {
			regs{pc: inner + 20, fp: stack},
			map[uint64]uint64{stack: stack + 64, stack + 8: 0x1234, stack + 64: 0, stack + 72: mainmain + 16},
			0,
			[]string{"main.inner"},
		},
		"a zeroed stack":             {regs{pc: 0, fp: stack}, map[uint64]uint64{stack: 0, stack + 8: 0}, 0, []string{""}},
		"an unaligned frame pointer": {regs{pc: inner + 20, fp: stack + 4}, map[uint64]uint64{stack + 4: 0, stack + 12: outer}, 0, []string{"main.inner"}},
		"an unmapped frame pointer":  {regs{pc: inner + 20, fp: 0x123450}, nil, 0, []string{"main.inner"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := table.Unwind(row.r, Memory{
				Word:       func(gva uint64) (uint64, bool) { v, ok := row.words[gva]; return v, ok },
				CallTarget: func(ret uint64) (uint64, bool) { return row.calls, row.calls != 0 },
			})
			if !reflect.DeepEqual(names(got), row.want) {
				t.Errorf("%v, want %v", names(got), row.want)
			}
		})
	}
}

func TestUnwindIsBounded(t *testing.T) {
	table := load(t, "amd64")
	outer, _ := table.Find("main.outer")
	got := table.Unwind(regs{pc: outer + 16, fp: 0x1000}, Memory{Word: func(gva uint64) (uint64, bool) {
		if gva%16 == 8 {
			return outer + 16, true
		}
		return gva + 16, true
	}})
	if len(got) != MaxFrames {
		t.Fatalf("%d frames, want %d", len(got), MaxFrames)
	}
}

func TestLoadSurvivesAnything(t *testing.T) {
	good, err := os.ReadFile(build(t, "amd64"))
	if err != nil {
		t.Fatal(err)
	}
	try := func(b []byte) {
		table, err := Load(bytes.NewReader(b), loadedAt)
		if err != nil {
			return
		}
		for gva := uint64(loadedAt); gva < loadedAt+(2<<20); gva += 4093 {
			table.Lookup(gva)
		}
	}
	for _, n := range []int{0, 1, 16, 63, 64, 65, 4096, len(good) / 2, len(good) - 1} {
		try(good[:n])
	}
	// One byte damaged, all over the headers and the start of the line table.
	bad := bytes.Clone(good)
	for i := 0; i < len(bad); i += 1 + i/512*37 {
		old := bad[i]
		bad[i] ^= 0xff
		if i < 4096 || i%5 == 0 {
			try(bad)
		}
		bad[i] = old
	}
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte("\x7fELF"))
	// A header and a few sections of a real file: small enough for the fuzzer.
	if good, err := os.ReadFile(build(f, "amd64")); err == nil {
		f.Add(good[:4096])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		table, err := Load(bytes.NewReader(b), loadedAt)
		if err == nil {
			table.Lookup(loadedAt + 100)
		}
	})
}
