package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// TestDebianScripts runs python3 and perl of a Debian root file system in guests of both architectures, and compares with Linux: the
// contract runner, with the scripts in contracts/debian.
func TestDebianScripts(t *testing.T) {
	if os.Getenv("RINGO_E2E") == "" {
		t.Skip("boots guests: run `make e2e`")
	}
	vmm, err := VMM()
	if err != nil {
		t.Fatal(err)
	}
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	for _, arch := range Arches {
		t.Run(arch, func(t *testing.T) {
			if _, err := os.Stat(filepath.Join(root, "build", arch, "debian.cpio")); err != nil {
				t.Skipf("no Debian root file system: `make debian ARCH=%s` makes it", arch)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
			defer cancel()
			c := exec.CommandContext(ctx, vmm, "contracts", "run", "--arch", arch, "--batch", "--jobs", "1", "--timeout", "5m", filepath.Join(root, "contracts", "debian"))
			c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
			c.WaitDelay = 10 * time.Second
			if out, err := c.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
