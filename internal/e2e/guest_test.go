package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ringo/debug/report"
)

// guest runs a guest and fails the test unless it ended with the wanted status.
func guest(t *testing.T, want int, stdin io.Reader, args ...string) Outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	o, err := Run(ctx, stdin, args...)
	if err != nil {
		t.Fatal(err)
	}
	if stdin == nil && o.Status != want && fellToQEMU(t, o) {
		if o, err = Run(ctx, nil, args...); err != nil {
			t.Fatal(err)
		}
	}
	if o.Status != want {
		t.Fatalf("vmm run %s: status %d, want %d\nstdout:\n%s\nstderr:\n%s", strings.Join(args, " "), o.Status, want, o.Stdout, o.Stderr)
	}
	return o
}

// ranAgain says that fellToQEMU has answered true once.
var ranAgain atomic.Bool

// fellToQEMU says that QEMU has ended a guest (report.FellToQEMU). The report is kept in build/triple-faults.log, which make e2e prints. A second
// one in the same run of the tests is a failure like any other.
func fellToQEMU(t *testing.T, o Outcome) bool {
	if !report.FellToQEMU(string(o.Stderr)) || ranAgain.Swap(true) {
		return false
	}
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(root, "build", "triple-faults.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	_, err = fmt.Fprintf(f, "%s %s, run again\n%s\n", time.Now().UTC().Format(time.DateTime), t.Name(), o.Stderr)
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return true
}

// everyMachine runs f for both architectures with 1 and 2 vCPUs.
func everyMachine(t *testing.T, f func(t *testing.T, machine []string)) {
	if os.Getenv("RINGO_E2E") == "" {
		t.Skip("boots guests: run `make e2e`")
	}
	for _, arch := range Arches {
		for _, cpus := range []string{"1", "2"} {
			t.Run(arch+"/"+cpus+"cpu", func(t *testing.T) {
				f(t, []string{"--arch", arch, "--cpus", cpus, "--timeout", "3m"})
			})
		}
	}
}

func with(machine []string, more ...string) []string {
	return append(append([]string{}, machine...), more...)
}

func TestBusyboxScript(t *testing.T) {
	machineName := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}
	everyMachine(t, func(t *testing.T, machine []string) {
		o := guest(t, 42, nil, with(machine, "--add", "demo.sh:/demo.sh", "--", "/bin/sh", "-c", ". /demo.sh; exit 42")...)
		lines := strings.Split(strings.TrimSpace(string(o.Stdout)), "\n")
		want := []string{
			"kernel: Linux on " + machineName[machine[1]] + ", pid ",
			"root: ",
			"pipes: 1 2 3 ",
			"arithmetic: 42",
			"files: 23 bytes in /tmp/demo/question",
			"child: ended with status 3",
			"signal: ended with status 143",
			"forks: 8 children, sum of statuses 36",
			"exit status: 42",
		}
		if len(lines) != len(want) {
			t.Fatalf("%d lines, want %d:\n%s\nstderr:\n%s", len(lines), len(want), o.Stdout, o.Stderr)
		}
		for i := range want {
			if !strings.HasPrefix(lines[i], want[i]) {
				t.Errorf("line %d = %q, want %q", i, lines[i], want[i])
			}
		}
		for _, name := range []string{"bin", "dev", "etc", "tmp", "demo.sh"} {
			if !strings.Contains(lines[1], name) {
				t.Errorf("ls / shows no %s: %q", name, lines[1])
			}
		}
	})
}

func TestExitStatus(t *testing.T) {
	everyMachine(t, func(t *testing.T, machine []string) {
		guest(t, 0, nil, with(machine, "--", "/bin/true")...)
		guest(t, 7, nil, with(machine, "--", "/bin/sh", "-c", "exit 7")...)
		guest(t, 128+15, nil, with(machine, "--", "/bin/sh", "-c", "kill -TERM $$")...)
	})
}

// Every byte value must pass through both ways, the streams apart.
func TestStreamsAreApartAndByteExact(t *testing.T) {
	everyMachine(t, func(t *testing.T, machine []string) {
		in := make([]byte, 300_000)
		random := rand.New(rand.NewPCG(1, 2))
		for i := range in {
			in[i] = byte(random.Uint32())
		}
		o := guest(t, 0, bytes.NewReader(in), with(machine, "--", "/bin/sh", "-c", "cat; echo oops >&2")...)
		if !bytes.Equal(o.Stdout, in) {
			t.Errorf("cat returned %d bytes that differ from the %d given", len(o.Stdout), len(in))
		}
		if string(o.Stderr) != "oops\n" {
			t.Errorf("stderr = %q, want %q", o.Stderr, "oops\n")
		}
	})
}

func TestTimeoutEndsTheGuest(t *testing.T) {
	everyMachine(t, func(t *testing.T, machine []string) {
		o := guest(t, 124, nil, with(machine[:4], "--timeout", "5s", "--", "/bin/sh", "-c", "while :; do :; done")...)
		if !bytes.Contains(o.Stderr, []byte("5s")) {
			t.Errorf("the message does not name the limit: %q", o.Stderr)
		}
	})
}

func TestProgramThatCannotStart(t *testing.T) {
	everyMachine(t, func(t *testing.T, machine []string) {
		dynamic := filepath.Join(t.TempDir(), "dynamic")
		if err := os.WriteFile(dynamic, dynamicELF(machine[1]), 0o755); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			name, want string
			args       []string
		}{
			{"missing", "/no/such", []string{"--", "/no/such"}},
			{"not executable", "/etc/passwd", []string{"--", "/etc/passwd"}},
			{"no interpreter", "/lib/ld-none.so", []string{"--add", dynamic + ":/dynamic", "--", "/dynamic"}},
		} {
			o := guest(t, 125, nil, with(machine, c.args...)...)
			message := strings.TrimSpace(string(o.Stderr))
			if !strings.Contains(message, c.want) || strings.Count(message, "\n") > 0 {
				t.Errorf("%s: want one line that names %s, got %q", c.name, c.want, message)
			}
		}
	})
}

func TestKernelSelftest(t *testing.T) {
	everyMachine(t, func(t *testing.T, machine []string) {
		guest(t, 0, nil, with(machine, "--append", "selftest=10")...)
	})
}

// RINGO_BOOTS makes it the long run of `make boots`.
func TestBootsInARow(t *testing.T) {
	boots := 3
	if s := os.Getenv("RINGO_BOOTS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			t.Fatalf("RINGO_BOOTS=%q is not a positive number", s)
		}
		boots = n
	}
	everyMachine(t, func(t *testing.T, machine []string) {
		if machine[3] != "2" {
			t.Skip("the long run is on 2 vCPUs")
		}
		guest(t, 0, nil, with(machine, "--", "/bin/true")...) // starts the hosted machine, which says so on standard error
		for i := range boots {
			o := guest(t, 0, nil, with(machine, "--", "/bin/sh", "-c", fmt.Sprintf("echo boot %d; sleep 0.01 & wait", i))...)
			if want := fmt.Sprintf("boot %d\n", i); string(o.Stdout) != want || len(o.Stderr) > 0 {
				t.Fatalf("boot %d: stdout %q (want %q), stderr %q", i, o.Stdout, want, o.Stderr)
			}
		}
	})
}
