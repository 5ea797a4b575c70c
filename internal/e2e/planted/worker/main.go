// Command worker runs one `vmm run` after the other where there is a KVM, as requests come on standard input, and answers what
// each left. Its argument is the vmm.
package main

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
	"time"

	"ringo/internal/e2e/planted"
)

func main() {
	if err := serve(os.Args[1], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "worker:", err)
		os.Exit(1)
	}
}

func serve(vmm string, in io.Reader, out io.Writer) error {
	requests, answers := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var r planted.Request
		if err := requests.Decode(&r); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if err := answers.Encode(run(vmm, &r)); err != nil {
			return err
		}
	}
}

func run(vmm string, r *planted.Request) (o planted.Outcome) {
	folder, err := os.MkdirTemp("", "report")
	if err != nil {
		return planted.Outcome{Err: err.Error()}
	}
	defer os.RemoveAll(folder)
	ctx, cancel := context.WithTimeout(context.Background(), r.Timeout)
	defer cancel()
	c := exec.CommandContext(ctx, vmm, append([]string{"run", "--host", "kvm", "--report", folder}, r.Args...)...)
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr, c.WaitDelay = &stdout, &stderr, 5*time.Second
	begin := time.Now()
	err = c.Run()
	o = planted.Outcome{Stdout: stdout.String(), Stderr: stderr.String(), Took: time.Since(begin)}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		o.Err = err.Error()
		return o
	}
	o.Status = c.ProcessState.ExitCode()
	files, err := filepath.Glob(filepath.Join(folder, "*", "report.jsonl"))
	if err != nil || len(files) != 1 {
		o.Err = fmt.Sprintf("%d report files; status %d: %s", len(files), o.Status, o.Stderr)
		return o
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		o.Err = err.Error()
	}
	o.Report = string(b)
	return o
}
