package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"ringo/debug/report"
)

// A monitor that counts its runs: the first ends as the test says, others well.
func TestRunAgain(t *testing.T) {
	for name, c := range map[string]struct {
		says   string
		status int // of the first run
		runs   int
		want   int
	}{
		"well":           {"", 0, 1, 0},
		"QEMU's doing":   {report.RegistersLost, 125, 2, 0},
		"kernel's doing": {"vmm: the kernel panicked (power-off code 1)", 125, 1, 125},
		"well, said so":  {report.RegistersLost, 0, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			t.Chdir(dir)
			script := fmt.Sprintf("#!/bin/sh\necho run >> %[1]s/runs\n[ $(wc -l < %[1]s/runs) -gt 1 ] && exit 0\necho %[2]q >&2\nexit %[3]d\n", dir, c.says, c.status)
			bin := filepath.Join(dir, "build", runtime.GOARCH)
			if err := os.MkdirAll(bin, 0o755); err != nil {
				t.Fatal(err)
			}
			for file, text := range map[string]string{filepath.Join(dir, "go.mod"): "module x\n", filepath.Join(bin, "vmm"): script} {
				if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			o, err := RunAgain(t.Context(), "--", "/bin/true")
			if err != nil || o.Status != c.want {
				t.Errorf("status %d, %v, want %d", o.Status, err, c.want)
			}
			runs, err := os.ReadFile(filepath.Join(dir, "runs"))
			if err != nil || strings.Count(string(runs), "run") != c.runs {
				t.Errorf("runs %q, %v, want %d", runs, err, c.runs)
			}
		})
	}
}
