package guest

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"ringo/vmm/machine"
)

// Use is what a guest cost the monitor's process, taken when the guest had stopped and before
// its memory was given back.
type Use struct {
	// RSS is the process' resident memory without guest memory, bytes. Guest memory, which
	// is mapped twice, is in Guest, counted once.
	RSS   uint64 `json:"monitor_rss_bytes"`
	Guest uint64 `json:"guest_resident_bytes"`
	// CPU is the time that all threads have run, the vCPUs' in the guest included.
	CPU time.Duration `json:"cpu_ns"`
	// Exits are the vCPUs' exits to the monitor by reason and place, all vCPUs together.
	Exits map[string]uint64 `json:"exits"`
	// KVM are KVM's own counters of the vCPUs, added up; nil where KVM has none.
	KVM map[string]uint64 `json:"kvm,omitempty"`
}

// measure fills u from the machine, which has stopped, and from this process.
func (u *Use) measure(m *machine.Machine) error {
	u.Exits, u.KVM = m.Exits(), m.Stats()
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		return fmt.Errorf("getrusage: %w", err)
	}
	u.CPU = time.Duration(r.Utime.Nano() + r.Stime.Nano())
	maps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return err
	}
	u.RSS, u.Guest = resident(maps, m.Memory().Views())
	return nil
}

// resident adds up the Rss lines of smaps (proc_pid_smaps(5)): of mappings that show guest
// memory, where each part has two, the larger one, which is what is resident of it, and of all others.
func resident(smaps []byte, views []machine.View) (other, guest uint64) {
	parts := map[uint64]uint64{} // by GPA
	gpa, mine := uint64(0), false
	for lines := bufio.NewScanner(bytes.NewReader(smaps)); lines.Scan(); {
		f := bytes.Fields(lines.Bytes())
		if len(f) >= 5 && len(f[1]) == 4 && bytes.IndexByte(f[0], '-') > 0 {
			text, _, _ := strings.Cut(string(f[0]), "-")
			start, err := strconv.ParseUint(text, 16, 64)
			mine = false
			for _, v := range views {
				if err == nil && start >= uint64(v.Start) && start < uint64(v.End) {
					gpa, mine = v.GPA+start-uint64(v.Start), true
				}
			}
			continue
		}
		if len(f) != 3 || string(f[0]) != "Rss:" {
			continue
		}
		kib, err := strconv.ParseUint(string(f[1]), 10, 64)
		switch {
		case err != nil:
		case mine:
			parts[gpa] = max(parts[gpa], kib<<10)
		default:
			other += kib << 10
		}
	}
	for _, n := range parts {
		guest += n
	}
	return other, guest
}
