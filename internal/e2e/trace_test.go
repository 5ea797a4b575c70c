package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What a program does while tracing_on is 0 is not in the trace, what it does before and after is, and its marks are.
func TestTraceFile(t *testing.T) {
	everyMachine(t, func(t *testing.T, machine []string) {
		dir := t.TempDir()
		file, perfetto := filepath.Join(dir, "run.trace"), filepath.Join(dir, "run.json")
		script := "cd /sys/kernel/tracing; cat tracing_on; echo first > trace_marker; echo 0 > tracing_on; cat tracing_on; " +
			"rmdir /nowhere 2> /dev/null; echo unheard > trace_marker; echo 1 > tracing_on; mkdir /tmp/seen; echo second > trace_marker; echo x > tracing_on"
		o := guest(t, 1, nil, with(machine, "--trace", file, "--", "/bin/sh", "-c", script)...)
		if string(o.Stdout) != "1\n0\n" || !strings.Contains(string(o.Stderr), "Invalid argument") {
			t.Errorf("tracing_on read %q, writing x said %q", o.Stdout, o.Stderr)
		}
		vmm, err := VMM()
		if err != nil {
			t.Fatal(err)
		}
		c := exec.CommandContext(t.Context(), vmm, "trace", "--perfetto", perfetto, file)
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		b, err := os.ReadFile(perfetto)
		if err != nil {
			t.Fatal(err)
		}
		var picture struct{ TraceEvents []struct{ Name string } }
		if err := json.Unmarshal(b, &picture); err != nil {
			t.Fatal(err)
		}
		if len(picture.TraceEvents) < 100 {
			t.Errorf("the picture has %d events", len(picture.TraceEvents))
		}
		c = exec.CommandContext(t.Context(), vmm, "trace", file)
		var said strings.Builder
		c.Stderr = &said
		out, err := c.Output()
		if err != nil {
			t.Fatalf("%v: %s", err, said.String())
		}
		text := string(out)
		var marks []string
		for line := range strings.Lines(text) {
			if _, mark, ok := strings.Cut(line, "  mark "); ok {
				marks = append(marks, strings.TrimSpace(mark))
			}
		}
		if !slices.Equal(marks, []string{"first", "second"}) {
			t.Errorf("marks %q", marks)
		}
		made := map[string]string{"amd64": " mkdir(0x", "arm64": " mkdirat("}[machine[1]]
		if strings.Count(text, made) != 1 || !strings.Contains(text, "mkdir]") || strings.Contains(text, "rmdir]") {
			t.Errorf("the program that was traced or the one that was not:\n%s", text)
		}
		if !strings.Contains(said.String(), "lost: 0 overwritten by newer ones, 0 torn") {
			t.Errorf("at the end: %q", said.String())
		}
	})
}
