package planted

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"ringo/hosted"
	"ringo/internal/e2e"
	"ringo/vmm/doctor"
)

// Run runs the cases one after the other in the machine of an architecture and tells each outcome in order. progress takes
// lines while something takes long.
func Run(ctx context.Context, arch string, cases []Case, progress io.Writer, tell func(*Case, *Outcome)) error {
	root, err := e2e.Root()
	if err != nil {
		return err
	}
	folder := filepath.Join(root, "build", arch)
	files := []string{filepath.Join(folder, "vmm"), filepath.Join(folder, "ringo.elf"), filepath.Join(folder, "initramfs.cpio")}
	for _, f := range files {
		if _, err := os.Stat(f); err != nil {
			return fmt.Errorf("%w (run `make build`)", err)
		}
	}
	programs := filepath.Join(root, "build", "plants", arch)
	if err := compile(ctx, arch, root, programs, cases); err != nil {
		return err
	}
	worker := filepath.Join(programs, ".worker")
	build := exec.CommandContext(ctx, "go", "build", "-o", worker, "ringo/internal/e2e/planted/worker")
	build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0", "GOARCH="+arch)
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the worker: %w\n%s", err, out)
	}
	var in bytes.Buffer
	requests := json.NewEncoder(&in)
	for i := range cases {
		if err := requests.Encode(cases[i].request(files[1], files[2], programs)); err != nil {
			return err
		}
	}
	outR, outW := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := runWorker(ctx, arch, []string{worker, files[0]}, files, programs, &in, outW, progress)
		outW.CloseWithError(errors.Join(err, io.EOF))
		ended <- err
	}()
	answers := json.NewDecoder(outR)
	for i := range cases {
		var o Outcome
		if err := answers.Decode(&o); err != nil {
			outR.Close()
			return fmt.Errorf("%s on %s: %w", cases[i].Name, arch, errors.Join(err, <-ended))
		}
		tell(&cases[i], &o)
	}
	return <-ended
}

// runWorker runs it where there is a KVM for that architecture.
func runWorker(ctx context.Context, arch string, argv, files []string, programs string, in io.Reader, out, progress io.Writer) error {
	local := false
	if arch == runtime.GOARCH {
		var err error
		if local, _, err = doctor.Verdict(ctx); err != nil {
			return err
		}
	}
	if local {
		c := exec.CommandContext(ctx, argv[0], argv[1:]...)
		c.Stdin, c.Stdout, c.Stderr = in, out, progress
		return c.Run()
	}
	status, err := hosted.Run(ctx, arch, hosted.Command{
		Argv: argv, Env: hosted.DefaultEnv(), Stdin: in, Stdout: out, Stderr: progress, FromMemory: files, Shares: []hosted.Share{{Path: programs}},
	}, progress)
	if err == nil && status != 0 {
		err = fmt.Errorf("the worker ended with status %d", status)
	}
	return err
}

// compile builds the plants' programs.
func compile(ctx context.Context, arch, root, out string, cases []Case) error {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	compiler := map[string]string{"amd64": "x86_64-linux-gnu-gcc", "arm64": "aarch64-linux-gnu-gcc"}[arch]
	for i := range cases {
		program := cases[i].Plant.Program
		source, target := filepath.Join(root, "guestkernel/inject/testdata", program+".c"), filepath.Join(out, program)
		was, err := os.Stat(source)
		if err != nil {
			return err
		}
		if is, err := os.Stat(target); err == nil && is.ModTime().After(was.ModTime()) {
			continue
		}
		c := exec.CommandContext(ctx, compiler, "-static", "-O1", "-Wall", "-pthread", "-o", target, source)
		if text, err := c.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", source, err, text)
		}
	}
	return nil
}
