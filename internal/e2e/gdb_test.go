package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// gdb runs gdb's commands in batch mode, one after the other, and answers all it printed.
func gdb(t *testing.T, env []string, commands ...string) string {
	t.Helper()
	out, err := runGDB(t, env, commands...)
	if err != nil {
		t.Errorf("gdb: %v\n%s", err, out)
	}
	return out
}

func runGDB(t *testing.T, env []string, commands ...string) (string, error) {
	t.Helper()
	path, err := exec.LookPath("gdb-multiarch")
	if err != nil {
		t.Fatal("gdb-multiarch is missing: run `make gdb`")
	}
	script := filepath.Join(t.TempDir(), "commands.gdb")
	preamble := []string{"set pagination off", "set confirm off", "set breakpoint pending off", "set remotetimeout 120", "set tcp connect-timeout 120", "set width 0", "set trace-commands on"}
	if err := os.WriteFile(script, []byte(strings.Join(append(preamble, commands...), "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	c := exec.Command("timeout", "-k", "5", "240", path, "-nx", "-batch", "-x", script)
	c.Env = append(os.Environ(), env...)
	out, err := c.CombinedOutput()
	return string(out), err
}

// wantAll checks that the patterns match one after the other.
func wantAll(t *testing.T, text string, patterns ...string) {
	t.Helper()
	rest := text
	for _, p := range patterns {
		at := regexp.MustCompile("(?m)" + p).FindStringIndex(rest)
		if at == nil {
			t.Fatalf("no %q, in this place, in what gdb printed:\n%s", p, text)
		}
		rest = rest[at[1]:]
	}
}

// everyShell is a guest that does the same for ever.
const everyShell = "echo up; while read line; do sleep 0.01; echo got $line; done"

func TestGDB(t *testing.T) {
	everyMachine(t, func(t *testing.T, machine []string) {
		socket := filepath.Join(t.TempDir(), "gdb")
		g := start(t, machine, everyShell, "--gdb", "unix:"+socket, "--wait")
		awaitFile(t, socket)
		pc := map[string]string{"amd64": "rip", "arm64": "pc"}[machine[1]]
		out := gdb(t, nil,
			"target remote "+socket,
			"info registers "+pc,
			// What only happens once the guest runs: user mode is entered.
			"watch 'ringo/guestkernel/boot.userReached'",
			"continue",
			"delete",
			// A breakpoint with a condition that the monitor evaluates.
			"break 'ringo/guestkernel/syscalls.write' if $sp == 0",
			"break 'ringo/guestkernel/syscalls.write' if $sp != 0",
			"continue",
			"backtrace",
			"info args",
			"next",
			"stepi",
			"thread apply all backtrace 3",
			"info threads",
			"monitor info version",
			"monitor tasks",
			"monitor v2p 0x1000",
			"monitor bt",
			"x/gx $sp",
			"detach",
		)
		wantAll(t, out,
			`ringo/arch/\w+/ring0\.entry \(\) at .*/entry\.s:\d+`,
			`^Hardware watchpoint 1: 'ringo/guestkernel/boot\.userReached'`,
			`^(Thread \d+ .* hit )?Hardware watchpoint 1: `, `^Old value = .*v = 0`, `^New value = .*v = 1`,
			`^(Thread \d+ "vCPU \d: task \d+ sh in write" hit )?Breakpoint 3, ringo/guestkernel/syscalls\.write `,
			`^#0 .*syscalls\.write .*/guestkernel/syscalls/\w+\.go:\d+`, `^#1 .*task\.\(\*Task\)\.syscall .*\.go:\d+`, `task\.\(\*Task\)\.run `, `runtime\.goexit`,
			`^t = 0x[0-9a-f]+$`,
			`^\+next\n\d+\t`, `^\+stepi`,
			`^Thread 1 \(Thread 1 "vCPU 0`, `^#0 .* at .*:\d+`,
			`Id +Target Id`, `Thread 1 "vCPU 0`,
			`^ringo monitor, `+machine[1]+` guest, `+machine[3]+` vCPUs`,
			`TID +PID +NAME`, `\d+ +\d+ sh +running`,
			`^0x1000: L3.* -> not present`,
			`^vCPU 0, `, `^0x[0-9a-f]+:\t0x[0-9a-f]+$`,
			`\[Inferior 1 \(Remote target\) detached\]`,
		)
		if regexp.MustCompile(`(?m)^(Thread .* hit )?Breakpoint 2, `).MatchString(out) {
			t.Errorf("a breakpoint whose condition is false stopped:\n%s", out)
		}
		// The guest runs on, and is as it was.
		g.expect("up")
		g.say("one")
		g.expect("got one")

		// Again, on a running guest, by the control socket; sleeping tasks are threads.
		vmm, err := VMM()
		if err != nil {
			t.Fatal(err)
		}
		out = gdb(t, []string{"RINGO_RUNTIME_DIR=" + g.dir}, "target remote | "+vmm+" gdb "+g.name, "thread apply all backtrace", "info os tasks", "kill")
		wantAll(t, out, `Thread \d+ \(Thread 100\d\d "task \d+ sh, asleep in (read|p?poll)"\)`, `runtime\.gopark`, `task\.\(\*Task\)\.Sleep`, `Thread 1 \(Thread 1 "vCPU 0`)
		g.say("two") // killing is detaching, too
		g.expect("got two")
		g.vmm("stop", g.name)
		g.end()
	})
}

// A debugger that dies leaves the guest as it was.
func TestGDBDies(t *testing.T) {
	everyMachine(t, func(t *testing.T, machine []string) {
		g := start(t, machine, everyShell)
		g.expect("up")
		vmm, err := VMM()
		if err != nil {
			t.Fatal(err)
		}
		env := []string{"RINGO_RUNTIME_DIR=" + g.dir}
		target := "target remote | " + vmm + " gdb " + g.name
		// With a breakpoint in force, without a word.
		_, _ = runGDB(t, env, target, "hbreak 'ringo/guestkernel/syscalls.read'", "shell kill -9 $PPID")
		g.say("one")
		g.expect("got one")
		g.say("exit")
		if err := g.stdin.Close(); err != nil {
			t.Fatal(err)
		}
		if status := g.end(); status != 0 {
			t.Errorf("the guest ended with status %d: %s", status, g.stderr.String())
		}
	})
}
