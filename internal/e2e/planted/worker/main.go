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
	"strings"
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
	c := exec.CommandContext(ctx, vmm, append([]string{"run", "--host", "kvm", "--report", folder}, in(folder, r.Args)...)...)
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
	if r.Trace != nil {
		out, err := exec.CommandContext(ctx, vmm, append([]string{"trace"}, in(folder, r.Trace)...)...).CombinedOutput()
		o.Trace = string(out[max(0, len(out)-traceEnd):])
		if err != nil {
			o.Trace += "\n" + err.Error()
		}
	}
	return o
}

// traceEnd is how much of a trace's end is answered, bytes.
const traceEnd = 64 << 10

// in puts the folder's name into arguments.
func in(folder string, args []string) (out []string) {
	for _, a := range args {
		out = append(out, strings.ReplaceAll(a, planted.Folder, folder))
	}
	return out
}
