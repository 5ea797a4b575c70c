package e2e

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// rwatch and awatch, of an atomic addition, which reads and writes; the stack of a sleeping task, which writes to it when it wakes; and the end of a kernel that
// does not answer.
func TestGDBReadsStacksAndAlarm(t *testing.T) {
	everyMachine(t, func(t *testing.T, machine []string) {
		socket := filepath.Join(t.TempDir(), "gdb")
		g := start(t, machine, everyMount, "--gdb", "unix:"+socket)
		awaitFile(t, socket)
		g.expect("up")
		ready := filepath.Join(t.TempDir(), "ready")
		const n = 5
		go func() {
			awaitFile(t, ready)
			for range n {
				g.say("line")
			}
		}()
		alarm, other, what := "inject-nmi", "inject-serror", "NMI"
		if machine[1] == "arm64" {
			alarm, other, what = other, alarm, "SError"
		}
		read := "rwatch"
		if machine[1] == "arm64" {
			read = "awatch" // docs/gdb.md
		}
		variable := "&'ringo/guestkernel/vfs.lastMountID'"
		out, _ := runGDB(t, nil,
			"target remote "+socket,
			"set language c",
			"monitor watch stack task 4321",
			"monitor watch stack task two",
			"monitor watch stack task 2,stop",
			"shell touch "+ready,
			"continue",
			"backtrace 1",
			"monitor unwatch 1",
			read+" *(long*)"+variable,
			"continue",
			"delete",
			"awatch *(long*)"+variable,
			"continue",
			"delete",
			"monitor reset",
			"monitor "+other,
			"monitor "+alarm+" 99",
			"monitor "+alarm+" x",
			"monitor "+alarm+" 0",
			"continue",
		)
		wantAll(t, out,
			`no sleeping task 4321 `, `"two" is not a number`, `^watch 1: 0x[0-9a-f]+,len=\d+,stop \[page protection\]`,
			`^watch 0x[0-9a-f]+,len=\d+,stop: write of \d+ bytes at `, `task 2 "sh"`, `^#0 .*\.go:\d+`, `^Hardware .*read.* watchpoint 1: `,
			`Hardware .*read.* watchpoint 1: `, `^(New v|V)alue = \d+$`,
			`^Hardware access \(read/write\) watchpoint 2: `, `Hardware access \(read/write\) watchpoint 2: `, `^(Old v|V)alue = \d+$`,
			`a machine runs once`, machine[1]+` has no `+strings.TrimPrefix(other, "inject-")+`; monitor `+alarm, `there is no vCPU 99`, `"x" is not a number`,
			`^vCPU 0 takes the `+what+` when the guest goes on`,
		)
		if status := g.end(); status != 125 || !regexp.MustCompile(`(?s)panicked.*`+what).MatchString(g.stderr.String()) {
			t.Errorf("status %d\n%s\ngdb printed:\n%s", status, g.stderr.String(), out)
		}
	})
}
