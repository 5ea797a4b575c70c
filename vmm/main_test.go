package main

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// binary is the command under test, as a user runs it.
var binaryPath string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "vmm-test")
	if err != nil {
		panic(err)
	}
	binaryPath = filepath.Join(dir, runtime.GOARCH, "vmm")
	build := exec.Command("go", "build", "-o", binaryPath, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		os.Stderr.Write(out)
		os.RemoveAll(dir)
		panic(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil { // another user runs it, too
		panic(err)
	}
	status := m.Run()
	os.RemoveAll(dir)
	os.Exit(status)
}

// vmm runs the command and returns its status and standard error.
func vmm(t *testing.T, prepare func(*exec.Cmd), args ...string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, binaryPath, args...)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	if prepare != nil {
		prepare(c)
	}
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("vmm %v: %v", args, err)
	}
	return c.ProcessState.ExitCode(), stderr.String()
}

// wantLine checks that a failure is told in one line.
func wantLine(t *testing.T, status, wantStatus int, stderr string, want ...string) {
	t.Helper()
	if status != wantStatus {
		t.Errorf("status %d, want %d", status, wantStatus)
	}
	if !strings.HasPrefix(stderr, "vmm: ") || strings.Count(stderr, "\n") != 1 || !strings.HasSuffix(stderr, "\n") {
		t.Errorf("stderr is not one line of ours:\n%s", stderr)
	}
	for _, w := range want {
		if !strings.Contains(stderr, w) {
			t.Errorf("stderr does not say %q: %s", w, stderr)
		}
	}
}

// kernelFile is the start of an ELF PIE for a machine: a valid header and one program header.
func kernelFile(machine elf.Machine, spoil func(*elf.Header64, *elf.Prog64)) []byte {
	h := elf.Header64{Type: uint16(elf.ET_DYN), Machine: uint16(machine), Version: 1, Entry: 0x1000, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1}
	copy(h.Ident[:], "\x7fELF\x02\x01\x01")
	p := elf.Prog64{Type: uint32(elf.PT_LOAD), Flags: 5, Off: 0x1000, Vaddr: 0x1000, Filesz: 0x1000, Memsz: 0x1000, Align: 0x1000}
	if spoil != nil {
		spoil(&h, &p)
	}
	var b bytes.Buffer
	binary.Write(&b, binary.LittleEndian, h) // a bytes.Buffer does not fail
	binary.Write(&b, binary.LittleEndian, p)
	b.Write(make([]byte, 0x2000-b.Len()))
	return b.Bytes()
}

func TestBadInputIsOneLine(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	native, other := elf.EM_X86_64, elf.EM_AARCH64
	if runtime.GOARCH == "arm64" {
		native, other = other, native
	}
	good := file("good.elf", kernelFile(native, nil))
	large := filepath.Join(dir, "large.cpio")
	if err := errors.Join(os.WriteFile(large, nil, 0o644), os.Truncate(large, 1<<30)); err != nil {
		t.Fatal(err)
	}
	otherArch := map[string]string{"amd64": "arm64", "arm64": "amd64"}[runtime.GOARCH]

	for _, c := range []struct {
		name   string
		status int
		args   []string
		want   []string
	}{
		{"no CPU", 2, []string{"--cpus", "0"}, []string{"--cpus 0", "1 to 64"}},
		{"1000 CPUs", 2, []string{"--cpus", "1000"}, []string{"--cpus 1000", "1 to 64"}},
		{"negative CPUs", 2, []string{"--cpus=-1"}, []string{"--cpus -1"}},
		{"CPUs not a number", 2, []string{"--cpus", "many"}, []string{"many"}},
		{"no memory", 2, []string{"--mem", "0"}, []string{"--mem 0"}},
		{"little memory", 2, []string{"--mem", "1M"}, []string{"16M to 128G"}},
		{"absurd memory", 2, []string{"--mem", "900000G"}, []string{"16M to 128G"}},
		{"memory that overflows", 2, []string{"--mem", "99999999999G"}, []string{"not a size"}},
		{"memory of odd size", 2, []string{"--mem", "67108865"}, []string{"multiple of 1 MiB"}},
		{"memory not a size", 2, []string{"--mem", "lots"}, []string{`"lots" is not a size`}},
		{"negative timeout", 2, []string{"--timeout=-5s"}, []string{"negative"}},
		{"timeout not a time", 2, []string{"--timeout", "soon"}, []string{"soon"}},
		{"long command line", 2, []string{"--append", strings.Repeat("x", 5000)}, []string{"5000 bytes"}},
		{"unknown architecture", 2, []string{"--arch", "riscv64"}, []string{"riscv64"}},
		{"other architecture on this KVM", 125, []string{"--arch", otherArch}, []string{otherArch, "--host hosted"}},
		{"unknown host", 2, []string{"--host", "cloud"}, []string{"cloud"}},
		{"unknown flag", 2, []string{"--frobnicate"}, []string{"--frobnicate"}},
		{"add without colon", 2, []string{"--add", "file"}, []string{"HOST:GUEST"}},
		{"add to a relative path", 2, []string{"--add", "a:b"}, []string{"not absolute"}},
		{"add to the root", 2, []string{"--add", "a:/"}, []string{"root"}},
		{"add of nothing", 125, []string{"--kernel", good, "--add", dir + "/none:/x"}, []string{dir + "/none"}},
		{"missing kernel", 125, []string{"--kernel", dir + "/none.elf"}, []string{dir + "/none.elf", "no such file"}},
		{"kernel is a folder", 125, []string{"--kernel", dir}, []string{"not a regular file"}},
		{"empty kernel", 125, []string{"--kernel", file("empty.elf", nil)}, []string{"0 bytes"}},
		{"kernel is text", 125, []string{"--kernel", file("text.elf", bytes.Repeat([]byte("hello "), 100))}, []string{"no ELF file"}},
		{"kernel of another architecture", 125, []string{"--kernel", file("other.elf", kernelFile(other, nil))}, []string{"built for " + otherArch}},
		{"truncated kernel", 125, []string{"--kernel", file("cut.elf", kernelFile(native, nil)[:0x1800])}, []string{"truncated"}},
		{"kernel that wants 4 EiB", 125, []string{"--kernel", file("huge.elf", kernelFile(native, func(_ *elf.Header64, p *elf.Prog64) {
			p.Memsz = 1 << 62
		}))}, []string{"too large"}},
		{"kernel with a wild entry", 125, []string{"--kernel", file("wild.elf", kernelFile(native, func(h *elf.Header64, _ *elf.Prog64) {
			h.Entry = 1 << 60
		}))}, []string{"entry point"}},
		{"kernel that is not PIE", 125, []string{"--kernel", file("exec.elf", kernelFile(native, func(h *elf.Header64, _ *elf.Prog64) {
			h.Type = uint16(elf.ET_EXEC)
		}))}, []string{"buildmode=pie"}},
		{"missing initramfs", 125, []string{"--kernel", good, "--initrd", dir + "/none.cpio"}, []string{dir + "/none.cpio"}},
		{"initramfs larger than memory", 125, []string{"--kernel", good, "--initrd", large}, []string{"1024 MiB", "--mem"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, stderr := vmm(t, nil, append([]string{"run", "--host", "kvm"}, c.args...)...)
			wantLine(t, status, c.status, stderr, c.want...)
		})
	}
	t.Run("no command", func(t *testing.T) {
		status, stderr := vmm(t, nil)
		wantLine(t, status, 2, stderr, "vmm --help")
	})
}

// What /dev/kvm can be, other than usable: arranged in a mount namespace of its own.
func TestBadDevice(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to arrange /dev/kvm in a mount namespace")
	}
	kernel := filepath.Join(filepath.Dir(binaryPath), "kernel.elf") // where every user may read
	machine := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[runtime.GOARCH]
	if err := os.WriteFile(kernel, kernelFile(machine, nil), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, arrange string
		want          []string
	}{
		{"absent", "mount -t tmpfs none /dev", []string{"no /dev/kvm", "--host hosted"}},
		{"not KVM", "mount -t tmpfs none /dev && mknod /dev/kvm c 1 3", []string{"not a KVM device"}},
		{"no device behind it", "mount -t tmpfs none /dev && mknod /dev/kvm c 10 250", []string{"no /dev/kvm"}},
		{"no permission", "mount -t tmpfs none /dev && mknod -m 600 /dev/kvm c 10 232 && exec setpriv --reuid 65534 --clear-groups \"$@\"", []string{"no permission", "--host hosted"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := []string{"-c", c.arrange + ` && exec "$@"`, "sh", binaryPath, "run", "--host", "kvm", "--kernel", kernel, "--initrd", ""}
			status, stderr := vmm(t, func(cmd *exec.Cmd) {
				cmd.Path, cmd.Args = "/bin/sh", append([]string{"sh"}, args...)
				cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
			})
			wantLine(t, status, 125, stderr, c.want...)
		})
	}
}

func TestSizes(t *testing.T) {
	for _, c := range []struct {
		in   string
		want uint64
		ok   bool
	}{
		{"1", 1, true}, {"64K", 64 << 10, true}, {"256M", 256 << 20, true}, {"256m", 256 << 20, true}, {"2G", 2 << 30, true},
		{"2GiB", 2 << 30, true}, {"2GB", 2 << 30, true}, {"", 0, false}, {"M", 0, false}, {"1T", 0, false}, {"-1M", 0, false},
		{"1MM", 0, false}, {"1.5G", 0, false}, {"0x10", 0, false}, {"18446744073709551615", 1<<64 - 1, true}, {"18446744073709551615K", 0, false},
	} {
		var s size
		if err := s.UnmarshalText([]byte(c.in)); (err == nil) != c.ok || c.ok && uint64(s) != c.want {
			t.Errorf("%q = %d, %v; want %d, ok %t", c.in, s, err, c.want, c.ok)
		}
	}
}
