// Package kvmtest lets a package's tests that need a real KVM run where there is one, for
// both architectures, by executing the package's own test binary there: on this machine's
// /dev/kvm where the doctor approves of it, else in the hosted machine.
//
//	func TestMain(m *testing.M) { kvmtest.Main(m) }
//	func TestInHostedMachines(t *testing.T) { kvmtest.Hosted(t, "ringo/vmm/machine") }
//	func TestOnKVM...(t *testing.T) { kvmtest.Require(t); ... }
//
// The tests named TestOnKVM... are those that run inside; RINGO_KVM_RUN is a pattern that chooses among them.
package kvmtest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"ringo/hosted"
	"ringo/vmm/doctor"
)

// inside marks the process that runs in a hosted machine.
const inside = "RINGO_KVM_TEST"

// Main runs the tests of a package that uses Hosted.
func Main(m *testing.M) {
	hosted.MaybeServe()
	os.Exit(m.Run())
}

// Require skips a test that needs KVM everywhere but in a hosted machine.
func Require(t *testing.T) {
	t.Helper()
	if os.Getenv(inside) == "" {
		t.Skip("needs a KVM host: TestInHostedMachines runs it there, with RINGO_E2E=1")
	}
}

// Hosted builds the test binary of a package for both architectures and runs its TestOnKVM
// tests where there is KVM. It needs RINGO_E2E, which `make test` sets.
func Hosted(t *testing.T, pkg string) {
	if os.Getenv("RINGO_E2E") == "" {
		t.Skip("boots guests: run `make e2e`")
	}
	pattern := "^TestOnKVM"
	if p := os.Getenv("RINGO_KVM_RUN"); p != "" {
		pattern = p
	}
	for _, arch := range hosted.Arches {
		t.Run(arch, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
			defer cancel()
			binary := Build(t, arch, pkg)
			var out bytes.Buffer
			status, err := Run(ctx, arch, binary, []string{"-test.run", pattern, "-test.v", "-test.timeout", "7m"}, nil, &out)
			if err != nil {
				t.Fatalf("%v\n%s", err, out.Bytes())
			}
			if status != 0 || !bytes.Contains(out.Bytes(), []byte("--- PASS")) {
				t.Fatalf("status %d\n%s", status, out.Bytes())
			}
			t.Logf("%s", out.Bytes())
		})
	}
}

// Build builds the test binary of a package for an architecture, in a folder of the test's.
func Build(t *testing.T, arch, pkg string) (binary string) {
	t.Helper()
	binary = filepath.Join(t.TempDir(), arch+".test")
	build := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", binary, pkg)
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH="+arch)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the %s test binary: %v\n%s", arch, err, out)
	}
	return binary
}

// Run executes a test binary of that architecture where it has KVM, with env besides the usual environment.
func Run(ctx context.Context, arch, binary string, args, env []string, out io.Writer) (status int, err error) {
	env = append([]string{inside + "=1"}, env...)
	argv := append([]string{binary}, args...)
	if arch == runtime.GOARCH {
		ok, _, err := doctor.Verdict(ctx)
		if err != nil {
			return 0, err
		}
		if ok {
			c := exec.CommandContext(ctx, argv[0], argv[1:]...)
			c.Env, c.Stdout, c.Stderr = append(os.Environ(), env...), out, out
			err := c.Run()
			if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
				err = nil
			}
			return c.ProcessState.ExitCode(), err
		}
	}
	return hosted.Run(ctx, arch, hosted.Command{
		Argv: argv, Env: append(hosted.DefaultEnv(), env...), Stdout: out, Stderr: out,
		Shares: []hosted.Share{{Path: filepath.Dir(binary)}},
	}, os.Stderr)
}
