package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// running is a guest that runs under a name, and what it has said.
type running struct {
	t       *testing.T
	name    string
	dir     string // RINGO_RUNTIME_DIR
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	stdout  *bufio.Reader
	stderr  bytes.Buffer
	stopped bool
}

// start runs a shell script in a guest with a name. The test ends it.
func start(t *testing.T, machine []string, script string, flags ...string) *running {
	t.Helper()
	vmm, err := VMM()
	if err != nil {
		t.Fatal(err)
	}
	r := &running{t: t, name: "e2e", dir: filepath.Join(t.TempDir(), "run")}
	args := append(with([]string{"run", "--name", r.name}, machine...), flags...)
	r.cmd = exec.Command(vmm, append(args, "--", "/bin/sh", "-c", script)...)
	r.cmd.Env = append(os.Environ(), "RINGO_RUNTIME_DIR="+r.dir)
	r.cmd.Stderr = &r.stderr
	r.stdin, err = r.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	r.stdout = bufio.NewReader(out)
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !r.stopped {
			_ = r.cmd.Process.Signal(syscall.SIGKILL)
			_ = r.cmd.Wait()
		}
	})
	return r
}

// expect reads lines until one is want.
func (r *running) expect(want string) {
	r.t.Helper()
	for {
		line, err := r.stdout.ReadString('\n')
		if strings.TrimRight(line, "\n") == want {
			return
		}
		if err != nil {
			_ = r.cmd.Wait()
			r.stopped = true
			r.t.Fatalf("the guest never said %q: %v\n%s", want, err, r.stderr.String())
		}
	}
}

func (r *running) say(line string) {
	r.t.Helper()
	if _, err := io.WriteString(r.stdin, line+"\n"); err != nil {
		r.t.Fatal(err)
	}
}

// vmm runs a command about running guests.
func (r *running) vmm(args ...string) string {
	r.t.Helper()
	out, err := r.try(args...)
	if err != nil {
		r.t.Fatalf("vmm %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (r *running) try(args ...string) (string, error) {
	vmm, err := VMM()
	if err != nil {
		return "", err
	}
	c := exec.Command("timeout", append([]string{"120", vmm}, args...)...)
	c.Env = append(os.Environ(), "RINGO_RUNTIME_DIR="+r.dir)
	out, err := c.CombinedOutput()
	return string(out), err
}

// state is the guest's in ps.
func (r *running) state() string {
	r.t.Helper()
	out := r.vmm("ps", "--json")
	var info struct{ Name, State string }
	if err := json.Unmarshal([]byte(out), &info); err != nil || info.Name != r.name {
		r.t.Fatalf("ps says %q (%v)", out, err)
	}
	return info.State
}

// end waits for the monitor and answers its status.
func (r *running) end() int {
	r.t.Helper()
	r.stopped = true
	done := make(chan error, 1)
	go func() { done <- r.cmd.Wait() }()
	select {
	case <-done:
	case <-time.After(time.Minute):
		_ = r.cmd.Process.Kill()
		r.t.Fatal("the monitor does not end")
	}
	return r.cmd.ProcessState.ExitCode()
}

func TestControlARunningGuest(t *testing.T) {
	everyMachine(t, func(t *testing.T, machine []string) {
		// With a reader, the shell sleeps in read(2) until it is spoken to.
		g := start(t, machine, "echo up; while read line; do echo got $line; done; echo bye >&2")
		g.expect("up")
		if s := g.state(); s != "running" {
			t.Errorf("ps says %s", s)
		}
		if out, err := g.try("run", "--name", g.name, "--", "/bin/true"); err == nil || !strings.Contains(out, "a running guest has that name") {
			t.Errorf("a second guest of that name: %v, %s", err, out)
		}

		bt := g.vmm("bt", g.name)
		for i := range machine[3][0] - '0' {
			if !strings.Contains(bt, fmt.Sprintf("vCPU %d, in ", i)) {
				t.Errorf("no stack of vCPU %d:\n%s", i, bt)
			}
		}
		if !strings.Contains(bt, "ringo/guestkernel/nucleus.") || !strings.Contains(bt, ".go:") {
			t.Errorf("the kernel's functions and lines are not in\n%s", bt)
		}

		g.vmm("pause", g.name)
		if s := g.state(); s != "paused" {
			t.Errorf("after pause, ps says %s", s)
		}
		g.say("one")
		g.vmm("pause", g.name) // a second time is nothing new
		g.vmm("bt", g.name)    // and this does not wake it
		if s := g.state(); s != "paused" {
			t.Errorf("after bt, ps says %s", s)
		}
		g.vmm("resume", g.name)
		g.expect("got one")

		// The past first, and then what is new.
		vmm, err := VMM()
		if err != nil {
			t.Fatal(err)
		}
		viewer := exec.Command("timeout", "120", vmm, "attach", g.name)
		viewer.Env = append(os.Environ(), "RINGO_RUNTIME_DIR="+g.dir)
		shown, err := viewer.StdoutPipe()
		if err == nil {
			err = viewer.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(shown)
		see := func(want string) {
			for lines.Scan() {
				if lines.Text() == want {
					return
				}
			}
			t.Errorf("attach never showed %q", want)
		}
		see("got one")
		g.say("two")
		g.expect("got two")
		see("got two")
		g.vmm("stop", g.name)
		if lines.Scan() {
			t.Errorf("attach shows %q at the end", lines.Text())
		}
		_ = viewer.Wait()
		if status := g.end(); status != 143 || !strings.Contains(g.stderr.String(), "vmm stop") {
			t.Errorf("status %d, want 143\n%s", status, g.stderr.String())
		}
		if out := g.vmm("ps"); strings.Contains(out, g.name) {
			t.Errorf("ps still lists it:\n%s", out)
		}
		if left, err := os.ReadDir(g.dir); err != nil || len(left) > 0 {
			t.Errorf("left in the runtime folder: %v, %v", left, err)
		}
		if out, err := g.try("bt", g.name); err == nil || !strings.Contains(out, "no running guest") || strings.Count(out, "\n") != 1 {
			t.Errorf("bt of a guest that has ended: %v, %q", err, out)
		}
	})
}

// A monitor that is killed leaves nothing that matters.
func TestControlAfterTheMonitorDied(t *testing.T) {
	everyMachine(t, func(t *testing.T, machine []string) {
		g := start(t, machine, "echo up; cat")
		g.expect("up")
		if err := g.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = g.cmd.Wait()
		g.stopped = true
		if out := g.vmm("ps"); strings.Contains(out, g.name) {
			t.Errorf("ps lists a dead guest:\n%s", out)
		}
		again := start(t, machine, "echo up; cat")
		again.expect("up")
		again.vmm("stop", again.name)
		again.end()
	})
}

// awaitFile waits until the monitor has made a file.
func awaitFile(t *testing.T, path string) {
	t.Helper()
	for limit := time.Now().Add(2 * time.Minute); ; {
		if _, err := os.Lstat(path); err == nil {
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("%s does not appear", path)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
