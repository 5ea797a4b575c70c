package contracts

import (
	"context"
	"debug/elf"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestEveryContractSaysWhatItCatches keeps the suite readable: a header with the contract's own name, a sentence, and the bug it exists
// for; checks that can fail; and an end.
func TestEveryContractSaysWhatItCatches(t *testing.T) {
	found, err := Find("amd64", []string{"."})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) < 60 {
		t.Errorf("%d contracts, want at least 60", len(found))
	}
	if scripts, err := Find("amd64", []string{"debian"}); err == nil {
		found = append(found, scripts...)
	} else if !os.IsNotExist(err) {
		t.Fatal(err)
	}
	checks := regexp.MustCompile(`(require|fails|must|observe|contract_fail|print)\(|print "|CHECK|\bt `)
	for _, p := range found {
		file := p.Source
		if st, err := os.Stat(file); err == nil && st.IsDir() {
			file = filepath.Join(file, goSource)
		}
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text := string(source)
		if begin := regexp.MustCompile(`^(/\*\n \*|#!.*\n#) ` + regexp.QuoteMeta(p.Name) + ": "); !begin.MatchString(text) {
			t.Errorf("%s: does not begin with its name", p.Source)
		}
		if len(p.Catches) < 30 {
			t.Errorf("%s: Catches: %q", p.Source, p.Catches)
		}
		if !strings.Contains(text, "contract_end()") && !strings.Contains(text, passLine) {
			t.Errorf("%s: never ends with contract_end()", p.Source)
		}
		if n := len(checks.FindAllString(text, -1)); n < 2 {
			t.Errorf("%s: only %d checks", p.Source, n)
		}
	}
}

func TestFindTakesSourcesAndStaticBinaries(t *testing.T) {
	root := t.TempDir()
	write := func(name string, b []byte) {
		t.Helper()
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	header := "/*\n * x\n *\n * Catches: one thing,\n * and another.\n *\n * Timeout: 3s\n * Flags: -lm -DX\n */\n"
	write("area/source.c", []byte(header))
	write("bin/static", elfFile(elf.EM_X86_64, elf.PT_LOAD))
	write("bin/dynamic", elfFile(elf.EM_X86_64, elf.PT_INTERP))
	write("bin/arm", elfFile(elf.EM_AARCH64, elf.PT_LOAD))
	write("bin/README", []byte("no program"))
	write("area/script.py", []byte("#!/usr/bin/python3\n# area/script: x\n#\n# Catches: a bug\n# that hides.\n# Root: debian\nprint(1)\n# Arch: arm64\n"))
	write("area/goprogram/main.go", []byte("/*\n * area/goprogram: x\n *\n * Libc: musl\n * Link: dynamic\n */\npackage main\n"))
	write("area/goprogram/more.go", []byte("package main\n"))
	write("tool.sh", []byte("#!/bin/sh\n"))
	write("include/helper.c", []byte(header))
	write("driver/driver.c", []byte(header))
	found, err := Find("amd64", []string{root})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range found {
		names = append(names, p.Name)
	}
	if got := strings.Join(names, " "); got != "area/goprogram area/script area/source bin/static" {
		t.Errorf("found %s", got)
	}
	if g, s := found[0], found[1]; g.Libc != "musl" || !g.Dynamic || g.Script() || s.Root != "debian" || s.Arch != "" || !s.Script() || s.Catches != "a bug that hides." {
		t.Errorf("headers: %+v, %+v", g, s)
	}
	p := found[2]
	if p.Timeout != 3*time.Second || strings.Join(p.Flags, " ") != "-lm -DX" || p.Catches != "one thing, and another. " && p.Catches != "one thing, and another." {
		t.Errorf("header: %+v", p)
	}
	if found, err = Find("arm64", []string{filepath.Join(root, "bin")}); err != nil || len(found) != 1 || found[0].Name != "arm" {
		t.Errorf("arm64: %v, %v", found, err)
	}
	for name, want := range map[string]string{"bin/dynamic": "dynamic loader", "bin/README": "neither", "nothing": "no such file"} {
		if _, err := Find("amd64", []string{filepath.Join(root, name)}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	for _, header := range []string{"Link: half", "Libc: other", "Timeout: soon"} {
		write("wrong/x.c", []byte("/*\n * x\n * "+header+"\n */\n"))
		if _, err := Find("amd64", []string{filepath.Join(root, "wrong")}); err == nil || !strings.Contains(err.Error(), header[:5]) {
			t.Errorf("%s: %v", header, err)
		}
	}
	one := filepath.Join(root, "bin/static")
	if _, err := Find("amd64", []string{one, one}); err == nil || !strings.Contains(err.Error(), "two contracts") {
		t.Errorf("the same twice: %v", err)
	}
	if found, err := Find("amd64", []string{filepath.Join(root, "area/source.c")}); err != nil || found[0].Name != "area/source" {
		t.Errorf("a source by itself: %v, %v", found, err)
	}
}

// elfFile is a program without content.
func elfFile(machine elf.Machine, segment elf.ProgType) []byte {
	b := make([]byte, 64+56)
	copy(b, "\x7fELF\x02\x01\x01")
	le := binary.LittleEndian
	le.PutUint16(b[16:], uint16(elf.ET_EXEC))
	le.PutUint16(b[18:], uint16(machine))
	le.PutUint32(b[20:], 1)
	le.PutUint64(b[32:], 64) // program headers
	le.PutUint16(b[52:], 64)
	le.PutUint16(b[54:], 56)
	le.PutUint16(b[56:], 1)
	le.PutUint16(b[58:], 64)
	le.PutUint32(b[64:], uint32(segment))
	return b
}

func TestShardsCoverEverythingOnce(t *testing.T) {
	all := programs(11)
	seen := map[string]int{}
	for i := 1; i <= 4; i++ {
		part := Shard(all, i, 4)
		if len(part) < 2 || len(part) > 3 {
			t.Errorf("part %d has %d", i, len(part))
		}
		for _, p := range part {
			seen[p.Name]++
		}
	}
	for _, p := range all {
		if seen[p.Name] != 1 {
			t.Errorf("%s is in %d parts", p.Name, seen[p.Name])
		}
	}
}

func TestToolchainKeepsWhatItMade(t *testing.T) {
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("gcc is not installed (contracts/install-compilers.sh)")
	}
	ctx := context.Background()
	folder := t.TempDir()
	source := filepath.Join(folder, "x.c")
	if err := os.WriteFile(source, []byte("int main(void) { return 0; }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tools, err := NewToolchain(ctx, "amd64", "glibc", "include", filepath.Join(folder, "cache"))
	if err != nil {
		t.Fatal(err)
	}
	program := Program{Name: "good", Source: source}
	first, err := tools.Compile(ctx, program)
	if err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(first)
	if err != nil || st.Mode()&0o111 == 0 {
		t.Fatalf("%v, %v", st, err)
	}
	again, err := tools.Compile(ctx, program)
	if st2, _ := os.Stat(again); err != nil || again != first || !os.SameFile(st, st2) || !st.ModTime().Equal(st2.ModTime()) {
		t.Errorf("compiled again: %v", err)
	}
	if other, err := tools.Compile(ctx, Program{Source: source, Flags: []string{"-DX"}}); err != nil || other == first {
		t.Errorf("other flags, same program: %v", err)
	}
	programs := []Program{program, {Name: "bad", Source: filepath.Join(folder, "bad.c")}}
	os.WriteFile(programs[1].Source, []byte("int main(void) { return x; }\n"), 0o600)
	if err := (Toolchains{}).Build(ctx, "amd64", "glibc", "include", filepath.Join(folder, "cache"), programs, 2); err == nil || !strings.Contains(err.Error(), "bad.c") || programs[0].Binary != first {
		t.Errorf("%v; good is %s", err, programs[0].Binary)
	}
	if _, err := NewToolchain(ctx, "amd64", "other", "include", folder); err == nil {
		t.Error("a C library that does not exist")
	}
}
