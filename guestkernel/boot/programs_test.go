//go:build amd64

package boot

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestProgramsBehaveAsOnLinux runs C programs on the host's Linux and in the personality, and compares what they print.
func TestProgramsBehaveAsOnLinux(t *testing.T) {
	for _, name := range []string{"process", "memory", "signals", "threads"} {
		for _, cc := range []string{"gcc", "musl-gcc"} {
			t.Run(name+"/"+cc, func(t *testing.T) {
				src, err := os.ReadFile(filepath.Join("testdata", name+".c"))
				if err != nil {
					t.Fatal(err)
				}
				bin := compile(t, cc, string(src), "-pthread", "-w")
				path := filepath.Join(t.TempDir(), "p")
				if err := os.WriteFile(path, bin, 0o755); err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				cmd := exec.CommandContext(ctx, path)
				cmd.Env = []string{"PATH=/bin", "HOME=/"}
				linux, _ := cmd.Output()
				want := strings.ReplaceAll(string(linux), path, "/bin/p")
				code := cmd.ProcessState.ExitCode()
				g := newGuest(t, map[string][]byte{"bin/p": bin})
				out, errs, e := g.run("", "/bin/p")
				if out != want || e.Code != code || e.Signal != 0 {
					t.Errorf("differs from Linux (status %d, here %d, signal %d)\n--- Linux\n%s--- here\n%s--- stderr %q missing %v", code, e.Code, e.Signal, want, out, errs, g.table.Missing())
				}
			})
		}
	}
}
