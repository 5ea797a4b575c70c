package e2e

import (
	"encoding/json"
	"strings"
	"testing"

	"ringo/vmm/control"
)

// A guest that makes system calls without end is seen in user mode, in the kernel's way in and in the call's own code.
func TestProfileOfARunningGuest(t *testing.T) {
	everyMachine(t, func(t *testing.T, machine []string) {
		g := start(t, machine, "echo up; exec dd if=/dev/zero of=/dev/null bs=1")
		g.expect("up")
		var p control.Profile
		if out := g.vmm("profile", g.name, "--duration", "3s", "--json"); json.Unmarshal([]byte(out), &p) != nil {
			t.Fatalf("not JSON: %s", out)
		}
		var sum uint64
		found := map[string]bool{}
		for _, f := range p.Functions {
			sum += f.Flat
			for _, part := range []string{"ring0.", "task.(*Task).run"} {
				if strings.Contains(f.Function, part) && f.Cumulative > 0 {
					found[part] = true
				}
			}
		}
		if p.Samples == 0 || sum+p.User != p.Samples || len(found) != 2 || p.NoNames != "" {
			t.Errorf("%d samples, %d in user mode, %d in functions, found %v; no names: %q", p.Samples, p.User, sum, found, p.NoNames)
		}
		if out := g.vmm("profile", g.name, "--duration", "200ms", "--vcpu", "0"); !strings.Contains(out, "FUNCTION WITH WHAT IT CALLS") {
			t.Errorf("the tables:\n%s", out)
		}
		if out, err := g.try("profile", g.name, "--vcpu", "9"); err == nil || !strings.Contains(out, "the guest has") {
			t.Errorf("a vCPU that does not exist: %v, %s", err, out)
		}
		g.vmm("stop", g.name)
		if code := g.end(); code != 143 {
			t.Errorf("stopped guest answers %d", code)
		}
	})
}
