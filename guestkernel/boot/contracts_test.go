//go:build amd64

package boot

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestContracts runs the contracts of the folders named in RINGO_CONTRACTS (separated by spaces, like "process signals") on the host's
// Linux and on the traced CPU: seconds instead of guests, while a system call is being written.
func TestContracts(t *testing.T) {
	areas := strings.Fields(os.Getenv("RINGO_CONTRACTS"))
	if len(areas) == 0 {
		t.Skip("RINGO_CONTRACTS names no area")
	}
	include, err := filepath.Abs("../../contracts/include")
	if err != nil {
		t.Fatal(err)
	}
	bb := busybox(t)
	for _, area := range areas {
		files, err := filepath.Glob("../../contracts/" + area + "/*.c")
		if err != nil || len(files) == 0 {
			t.Fatalf("no contracts in %s: %v", area, err)
		}
		for _, file := range files {
			t.Run(area+"/"+strings.TrimSuffix(filepath.Base(file), ".c"), func(t *testing.T) {
				src, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				bin := compile(t, "gcc", string(src), "-pthread", "-w", "-std=gnu11", "-fno-strict-aliasing", "-I"+include, "-I"+filepath.Dir(file))
				dir := t.TempDir()
				path := filepath.Join(dir, "p")
				if err := os.WriteFile(path, bin, 0o755); err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				cmd := exec.CommandContext(ctx, path)
				cmd.Env, cmd.Dir, cmd.SysProcAttr = []string{"PATH=/bin", "HOME=/"}, dir, &syscall.SysProcAttr{Setsid: true}
				linux, _ := cmd.Output()
				want := strings.ReplaceAll(string(linux), path, "/bin/p")
				if !strings.Contains(want, "CONTRACT_PASS") {
					t.Skipf("does not pass on this host: %q", want)
				}
				g := newGuest(t, map[string][]byte{"bin/p": bin, "bin/busybox": bb, "bin/sh": []byte("-> busybox"), "bin/true": []byte("-> busybox")})
				g.dir = "/tmp"
				if err := MountSystem(g.ns, g.root, System{
					Tasks: g.k, CPUs: 2, Memory: func() (uint64, uint64, uint64) { return 256 << 20, 200 << 20, 1 << 20 },
				}); err != nil {
					t.Fatal(err)
				}
				out, errs, e := g.run("", "/bin/p")
				if out != want || e.Code != 0 || e.Signal != 0 {
					t.Errorf("differs from Linux: status %d signal %d\n--- Linux\n%s--- here\n%s--- stderr %q missing %v", e.Code, e.Signal, want, out, errs, g.table.Missing())
				}
			})
		}
	}
}
