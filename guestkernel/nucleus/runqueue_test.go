package nucleus

import (
	"debug/dwarf"
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestRuntimeOffsetsMatchDWARF(t *testing.T) {
	dir := t.TempDir()
	source := filepath.Join(dir, "main.go")
	if err := os.WriteFile(source, []byte("package main\nfunc main() {}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	l := runtimeLayout
	want := map[string]uintptr{
		"runtime.g m": l.gM, "runtime.m p": l.mP, "runtime.p runqhead": l.pRunqHead, "runtime.p runqtail": l.pRunqTail,
		"runtime.g preempt": l.gPreempt, "runtime.p schedtick": l.pSchedTick, "runtime.schedt npidle": l.schedNPIdle, "runtime.p runnext": l.pRunNext, "runtime.schedt runq": l.schedRunq, "runtime.gQueue size": l.queueSize,
	}
	for _, arch := range []string{"amd64", "arm64"} {
		exe := filepath.Join(dir, arch)
		cmd := exec.Command("go", "build", "-o", exe, source)
		cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH="+arch, "CGO_ENABLED=0", "GOFLAGS=")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		got := fieldOffsets(t, exe)
		for field, offset := range want {
			if o, ok := got[field]; !ok || o != int64(offset) {
				t.Errorf("%s: %s at %d %t, the layout says %d", arch, field, o, ok, offset)
			}
		}
	}
}

// fieldOffsets reads the structs of package runtime.
func fieldOffsets(t *testing.T, exe string) map[string]int64 {
	t.Helper()
	f, err := elf.Open(exe)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d, err := f.DWARF()
	if err != nil {
		t.Fatal(err)
	}
	offsets := map[string]int64{}
	for r := d.Reader(); ; {
		e, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if e == nil {
			return offsets
		}
		name, _ := e.Val(dwarf.AttrName).(string)
		switch name {
		case "runtime.g", "runtime.m", "runtime.p", "runtime.schedt", "runtime.gQueue":
		default:
			continue
		}
		if e.Tag != dwarf.TagStructType {
			continue
		}
		typ, err := d.Type(e.Offset)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range typ.(*dwarf.StructType).Field {
			offsets[name+" "+f.Name] = f.ByteOffset
		}
	}
}
