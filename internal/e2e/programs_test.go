package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// programs are C programs that print what they observe (guestkernel/boot/testdata). The host's own Linux says what is right.
var programs = []string{"process", "memory", "signals", "threads"}

// compiler builds static programs for an architecture on this (amd64) machine.
var compiler = map[string]string{"amd64": "gcc", "arm64": "aarch64-linux-gnu-gcc"}

func compileProgram(t *testing.T, arch, name, dir string) string {
	t.Helper()
	cc, err := exec.LookPath(compiler[arch])
	if err != nil {
		t.Skipf("no C compiler for %s: apt-get install gcc libc6-dev gcc-aarch64-linux-gnu libc6-dev-arm64-cross", arch)
	}
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(dir, name)
	src := filepath.Join(root, "guestkernel", "boot", "testdata", name+".c")
	if out, err := exec.Command(cc, "-static", "-O1", "-w", "-pthread", "-o", bin, src).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", cc, src, err, out)
	}
	return bin
}

// TestProgramsBehaveAsOnLinux runs each program on the host and in guests of both architectures, and compares the output.
func TestProgramsBehaveAsOnLinux(t *testing.T) {
	if os.Getenv("RINGO_E2E") == "" {
		t.Skip("boots guests: run `make e2e`")
	}
	for _, name := range programs {
		native := compileProgram(t, "amd64", name, t.TempDir())
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		cmd := exec.CommandContext(ctx, native)
		linux, _ := cmd.Output() // the status is compared below
		cancel()
		status := cmd.ProcessState.ExitCode()
		if status < 0 || len(linux) == 0 {
			t.Fatalf("%s on the host: status %d, output %q", name, status, linux)
		}
		for _, arch := range Arches {
			t.Run(name+"/"+arch, func(t *testing.T) {
				bin := compileProgram(t, arch, name, t.TempDir())
				want := strings.ReplaceAll(string(linux), native, "/"+name)
				if arch == "arm64" {
					want = strings.ReplaceAll(want, "x86_64", "aarch64")
				}
				o := guest(t, status, nil, "--arch", arch, "--cpus", "2", "--timeout", "3m", "--add", bin+":/"+name, "--", "/"+name)
				if string(o.Stdout) != want {
					t.Errorf("differs from Linux\n--- Linux\n%s--- guest\n%s--- stderr\n%s", want, o.Stdout, o.Stderr)
				}
			})
		}
	}
}

// TestRandomSystemCalls throws random system calls at the kernel, which must live through them and lose no memory.
func TestRandomSystemCalls(t *testing.T) {
	everyMachine(t, func(t *testing.T, machine []string) {
		bin := compileProgram(t, machine[1], "fuzz", t.TempDir())
		o := guest(t, 0, nil, with(machine, "--add", bin+":/fuzz", "--", "/fuzz", "100", "7")...)
		if string(o.Stdout) != "100 rounds done\n" || strings.Contains(string(o.Stderr), "leak") {
			t.Errorf("stdout %q\nstderr %s", o.Stdout, o.Stderr)
		}
	})
}
