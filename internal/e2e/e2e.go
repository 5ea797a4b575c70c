// Package e2e runs the built `vmm` as a user does and looks at what came out: streams,
// exit status, time. Its tests boot real guests; they need `make build` and RINGO_E2E=1,
// which `make test` sets.
package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"ringo/debug/report"
)

// Arches are the architectures every test boots.
var Arches = []string{"amd64", "arm64"}

// Root is the project's top folder, found from the working folder upwards.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
	}
	return "", errors.New("no go.mod in this folder or above it: run from the project")
}

// VMM is the path of the monitor for this machine.
func VMM() (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	path := filepath.Join(root, "build", runtime.GOARCH, "vmm")
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%w (run `make build`)", err)
	}
	return path, nil
}

// RunAgain is Run, a second time when QEMU ended the first guest (report.FellToQEMU), which it says on standard error. It is for measurements: what comes
// of a kernel comes again.
func RunAgain(ctx context.Context, args ...string) (Outcome, error) {
	o, err := Run(ctx, nil, args...)
	if err != nil || o.Status == 0 || !report.FellToQEMU(string(o.Stderr)) {
		return o, err
	}
	first, _, _ := bytes.Cut(o.Stderr, []byte("\n"))
	fmt.Fprintf(os.Stderr, "after %v: %s\nThe hosted machine's QEMU does that now and then (docs/debugging-boot.md, section 6): once more.\n", o.Wall.Round(time.Second), first)
	return Run(ctx, nil, args...)
}

// Outcome is what one run of the monitor left.
type Outcome struct {
	Stdout, Stderr []byte
	Status         int           // exit status, -1 when a signal ended the monitor
	Wall           time.Duration // from start to end, the hosted machine's part included
}

// Run runs `vmm run ARGS...` with stdin and returns its outcome. The context bounds the run
// from outside; give --timeout too, so that the monitor can say what hung.
func Run(ctx context.Context, stdin io.Reader, args ...string) (Outcome, error) {
	vmm, err := VMM()
	if err != nil {
		return Outcome{}, err
	}
	var stdout, stderr bytes.Buffer
	c := exec.CommandContext(ctx, vmm, append([]string{"run"}, args...)...)
	c.Stdin, c.Stdout, c.Stderr = stdin, &stdout, &stderr
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	c.WaitDelay = 10 * time.Second
	begin := time.Now()
	err = c.Run()
	o := Outcome{Stdout: stdout.Bytes(), Stderr: stderr.Bytes(), Status: c.ProcessState.ExitCode(), Wall: time.Since(begin)}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return o, err
	}
	return o, nil
}
