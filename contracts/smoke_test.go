package contracts

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// smoke are quick contracts from several areas that pass; the whole suite is `make contracts`.
const smoke = `^(process/(exit_status|fork_memory|vectors_syscalls)|signals/(altstack|mask)|vm/(brk|anonymous)|fd/dup|filesystem/rename|events/eventfd|threading/futex)$`

// TestSmokeOnRingo runs ten contracts in one guest of each architecture, through the command.
func TestSmokeOnRingo(t *testing.T) {
	if os.Getenv("RINGO_E2E") == "" {
		t.Skip("boots guests: run `make e2e`")
	}
	vmm, err := filepath.Abs(filepath.Join("..", "build", runtime.GOARCH, "vmm"))
	if err != nil {
		t.Fatal(err)
	}
	for _, arch := range []string{"amd64", "arm64"} {
		t.Run(arch, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			c := exec.CommandContext(ctx, vmm, "contracts", "run", "--arch", arch, "--batch", "--filter", smoke)
			c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
			c.WaitDelay = 10 * time.Second
			if out, err := c.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
