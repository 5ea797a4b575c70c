package symbols

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

const variablesProgram = `package main

type inner struct {
	a uint8
	b uint64
}

type record struct {
	next  *record
	table [4]inner
	name  string
}

var global record
var plain uint32

func main() { global.name = "x"; plain = 3; println(&global, plain) }
`

func TestResolveVariables(t *testing.T) {
	for _, arch := range []string{"amd64", "arm64"} {
		dir := t.TempDir()
		source, out := filepath.Join(dir, "p.go"), filepath.Join(dir, "p.elf")
		if err := os.WriteFile(source, []byte(variablesProgram), 0o644); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("go", "build", "-buildmode=pie", "-o", out, source)
		cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH="+arch, "CGO_ENABLED=0", "GOFLAGS=")
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		f, err := os.Open(out)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		v, err := LoadVariables(f, loadedAt)
		if err != nil {
			t.Fatal(err)
		}
		base, size, err := v.Resolve("main.global")
		if err != nil || size != 88 || base < loadedAt || base > loadedAt+1<<24 {
			t.Fatalf("%s: main.global at %#x, %d bytes, %v", arch, base, size, err)
		}
		for name, want := range map[string][2]uint64{
			"main.global.next": {0, 8}, "main.global.table": {8, 64}, "main.global.table[2]": {40, 16},
			"main.global.table[3].b": {64, 8}, "main.global.table[1].a": {24, 1}, "main.global.name": {72, 16}, "main.global.name.len": {80, 8},
		} {
			gva, size, err := v.Resolve(name)
			if err != nil || gva-base != want[0] || size != want[1] {
				t.Errorf("%s: %s at +%d, %d bytes, %v; want +%d, %d", arch, name, gva-base, size, err, want[0], want[1])
			}
		}
		if _, size, err := v.Resolve("main.plain"); err != nil || size != 4 {
			t.Errorf("main.plain: %d bytes, %v", size, err)
		}
		for _, bad := range []string{"", "main.nothing", "main.global.nothing", "main.global.table[4]", "main.global.table[x]", "main.global.next[0]", "main.plain.x", "main.global.", "main.global.table[1"} {
			if gva, _, err := v.Resolve(bad); err == nil {
				t.Errorf("%q is at %#x", bad, gva)
			}
		}
		if _, _, err := v.Resolve("main.nothing"); !errors.Is(err, ErrNoVariable) {
			t.Error(err)
		}
	}
}
