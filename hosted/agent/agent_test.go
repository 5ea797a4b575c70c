package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ringo/hosted/wire"
)

func TestGroupEmpty(t *testing.T) {
	for events, want := range map[string]bool{
		"populated 0\nfrozen 0\n": true, "frozen 0\npopulated 0\n": true, "populated 1\nfrozen 0\n": false, "": false, "populated 01\n": false,
	} {
		if got := groupEmpty(events); got != want {
			t.Errorf("%q: got %v", events, got)
		}
	}
}

func TestLookPath(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "two", "prog")
	for path, mode := range map[string]os.FileMode{filepath.Join(dir, "one", "prog"): 0o644, program: 0o755} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	env := []string{"HOME=/", "PATH=" + filepath.Join(dir, "one") + ":" + filepath.Join(dir, "two")}
	if got, err := lookPath("prog", env); got != program || err != nil {
		t.Errorf("got %q, %v; want the executable one, %q", got, err, program)
	}
	if got, err := lookPath("./prog", env); got != "./prog" || err != nil {
		t.Errorf("a name with a slash was looked up: %q, %v", got, err)
	}
	if _, err := lookPath("nothing", env); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing name: %v", err)
	}
}

func TestExecFailures(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(file, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, path string
		err        error
		want       string
	}{
		{"nothing there", "/nothing", unix.ENOENT, wire.StartNotFound},
		{"not in PATH", "", unix.ENOENT, wire.StartNotFound},
		{"interpreter missing", file, unix.ENOENT, wire.StartNotExecutable},
		{"no permission", file, unix.EACCES, wire.StartNotExecutable},
		{"wrong architecture", file, unix.ENOEXEC, wire.StartNotExecutable},
		{"too many arguments", file, unix.E2BIG, wire.StartFailed},
	} {
		if got := execFailure("prog", c.path, c.err); got.Kind != c.want || got.Error == "" {
			t.Errorf("%s: got %+v, want %s", c.name, got, c.want)
		}
	}
}

func TestEvictionKeepsTheRecent(t *testing.T) {
	dir := t.TempDir()
	for i, name := range []string{"old", "middle", "new"} {
		path := filepath.Join(dir, name)
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Truncate(execCacheLimit / 2); err != nil { // sparse
			t.Fatal(err)
		}
		f.Close()
		used := time.Now().Add(time.Duration(i-10) * time.Minute)
		if err := os.Chtimes(path, used, used); err != nil {
			t.Fatal(err)
		}
	}
	if err := evict(dir, "old"); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"old": true, "middle": false, "new": true} {
		if got := exists(filepath.Join(dir, name)); got != want {
			t.Errorf("%s: there %v, want %v", name, got, want)
		}
	}
}

func TestCopyProgramIsWhole(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "program")
	if err := os.WriteFile(path, []byte("content"), 0o755); err != nil {
		t.Fatal(err)
	}
	source, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(source.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(dir, "copy")
	if err := copyProgram(source, target, st); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(target); string(b) != "content" || err != nil {
		t.Errorf("copy holds %q, %v", b, err)
	}
	st.Size++ // as if it had changed since
	if err := copyProgram(source, filepath.Join(dir, "other"), st); err == nil {
		t.Error("a program that changed meanwhile was kept")
	}
	if left, err := filepath.Glob(filepath.Join(dir, "other*")); len(left) != 0 || err != nil {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestMountPointsAreMade(t *testing.T) {
	root := t.TempDir()
	folder, file := filepath.Join(root, "a/b"), filepath.Join(root, "c/d")
	for range 2 { // what exists stays
		if err := errors.Join(makeMountPoint(folder, true), makeMountPoint(file, false)); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(folder); err != nil || !info.IsDir() {
		t.Errorf("%s: %v", folder, err)
	}
	if info, err := os.Stat(file); err != nil || !info.Mode().IsRegular() {
		t.Errorf("%s: %v", file, err)
	}
}

func TestModuleParameters(t *testing.T) {
	line := "console=ttyS0 kvm.halt_poll_ns=0 kvm-amd.npt=1 kvm.x kvmx.y=1 rcupdate.rcu_cpu_stall_suppress=1\n"
	for module, want := range map[string]string{"kvm": "halt_poll_ns=0 x", "kvm_amd": "npt=1", "tun": ""} {
		if got := moduleParameters(line, module); got != want {
			t.Errorf("%s: got %q, want %q", module, got, want)
		}
	}
}
