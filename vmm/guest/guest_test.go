package guest_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"ringo/hosted"
	"ringo/internal/kvmtest"
	"ringo/vmm/console"
	"ringo/vmm/guest"
)

func TestMain(m *testing.M) { kvmtest.Main(m) }

func TestInHostedMachines(t *testing.T) { kvmtest.Hosted(t, "ringo/vmm/guest") }

// options are those of a guest of the built kernel that runs a shell command.
func options(t *testing.T, cpus int, script string) guest.Options {
	t.Helper()
	root, err := hosted.Root()
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(root, "build", runtime.GOARCH)
	return guest.Options{
		CPUs: cpus, Memory: 256 << 20, Kernel: filepath.Join(folder, "ringo.elf"), Initrd: filepath.Join(folder, "initramfs.cpio"),
		Program: []string{"/bin/sh", "-c", script}, Env: []string{"PATH=/bin"},
	}
}

func TestOnKVMProgram(t *testing.T) {
	kvmtest.Require(t)
	for _, cpus := range []int{1, 2} {
		o := options(t, cpus, "cat; echo oops >&2; exit 5")
		var stdout, stderr bytes.Buffer
		o.Stdin, o.Stdout, o.Stderr = strings.NewReader("hello"), &stdout, &stderr
		out, err := guest.Run(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if out.Status != 5 || stdout.String() != "hello" || stderr.String() != "oops\n" {
			t.Errorf("%d vCPUs: status %d, stdout %q, stderr %q", cpus, out.Status, stdout.String(), stderr.String())
		}
		var names []string
		var last time.Duration
		for _, p := range out.Phases.List {
			names = append(names, p.Name)
			if p.At < last {
				t.Errorf("phase %s at %v comes before the one before it (%v)", p.Name, p.At, last)
			}
			last = p.At
		}
		if s := strings.Join(names, ","); !strings.Contains(s, "vCPUs started,entry,nucleus") || !strings.Contains(s, "first user instruction") {
			t.Errorf("phases: %s", s)
		}
	}
}

// The guest's clock is the host's.
func TestOnKVMClock(t *testing.T) {
	kvmtest.Require(t)
	o := options(t, 1, "date +%s")
	var stdout bytes.Buffer
	o.Stdout = &stdout
	before := time.Now().Unix()
	_, err := guest.Run(t.Context(), o)
	after := time.Now().Unix()
	now, parseErr := strconv.ParseInt(strings.TrimSpace(stdout.String()), 10, 64)
	if err != nil || parseErr != nil || now < before || now > after {
		t.Errorf("date says %q (%v), want %d to %d", stdout.String(), err, before, after)
	}
}

func TestOnKVMProgramDiesOfASignal(t *testing.T) {
	kvmtest.Require(t)
	out, err := guest.Run(t.Context(), options(t, 1, "kill -KILL $$"))
	if err != nil || out.Status != 128+9 {
		t.Errorf("status %d, %v; want 137", out.Status, err)
	}
}

func TestOnKVMProgramNotFound(t *testing.T) {
	kvmtest.Require(t)
	o := options(t, 1, "")
	o.Program = []string{"/no/such/program"}
	_, err := guest.Run(t.Context(), o)
	if !errors.Is(err, guest.ErrProgram) || !strings.Contains(err.Error(), "/no/such/program") {
		t.Errorf("err = %v, want ErrProgram that names it", err)
	}
}

func TestOnKVMAdditions(t *testing.T) {
	kvmtest.Require(t)
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, []byte("added"), 0o640); err != nil {
		t.Fatal(err)
	}
	o := options(t, 1, "cat /tmp/deep/er/f; stat -c ' %a' /tmp/deep/er/f; stat -c %a /tmp")
	o.Add = []guest.Addition{{Host: file, Guest: "/tmp/deep/er/f"}}
	var stdout bytes.Buffer
	o.Stdout = &stdout
	out, err := guest.Run(t.Context(), o)
	if err != nil || out.Status != 0 || stdout.String() != "added 640\n1777\n" {
		t.Errorf("status %d, %v, stdout %q", out.Status, err, stdout.String())
	}
}

// waitFor reads lines until one is want.
func waitFor(t *testing.T, r io.Reader, want string) {
	t.Helper()
	for s := bufio.NewScanner(r); s.Scan(); {
		if s.Text() == want {
			return
		}
	}
	t.Fatalf("the guest never said %q", want)
}

var errEnough = errors.New("enough")

// A guest ends when its context does, whatever it is doing.
func TestOnKVMCancel(t *testing.T) {
	kvmtest.Require(t)
	for _, script := range []string{"echo up; while :; do :; done", "echo up; sleep 1000", "echo up; cat"} {
		ctx, cancel := context.WithCancelCause(t.Context())
		o := options(t, 2, script)
		r, w := io.Pipe()
		blocked, _ := io.Pipe()
		o.Stdout, o.Stdin = w, blocked
		ended := make(chan error, 1)
		go func() {
			_, err := guest.Run(ctx, o)
			ended <- err
		}()
		waitFor(t, r, "up")
		cancel(errEnough)
		blocked.Close() // a reader that is no file can only be ended by its owner
		select {
		case err := <-ended:
			var crash *guest.CrashError
			if !errors.Is(err, errEnough) || !errors.As(err, &crash) || !strings.Contains(crash.Report, "vCPU 1") {
				t.Errorf("%s: err = %v", script, err)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%s: still running", script)
		}
	}
}

func TestOnKVMSignalsReachTheProgram(t *testing.T) {
	kvmtest.Require(t)
	o := options(t, 1, "trap 'echo caught; exit 3' INT; echo up; while :; do sleep 0.1; done")
	signals := make(chan os.Signal, 1)
	r, w := io.Pipe()
	o.Signals, o.Stdout = signals, w
	ended := make(chan error, 1)
	var out guest.Outcome
	go func() {
		var err error
		out, err = guest.Run(t.Context(), o)
		w.Close()
		ended <- err
	}()
	waitFor(t, r, "up")
	signals <- syscall.SIGINT
	waitFor(t, r, "caught")
	if err := <-ended; err != nil || out.Status != 3 {
		t.Errorf("status %d, %v; want 3", out.Status, err)
	}
	// Before the program runs, a signal ends the guest.
	signals <- syscall.SIGTERM
	o.Stdout = nil
	_, err := guest.Run(t.Context(), o)
	var interrupted *console.InterruptedError
	if !errors.As(err, &interrupted) || interrupted.Signal != syscall.SIGTERM {
		t.Errorf("err = %v, want an interruption by SIGTERM", err)
	}
}

// resident is the memory of a monitor's process in bytes without guest RAM.
func resident(t *testing.T, pid int) int {
	t.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/smaps", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var total, kib int
	ram := false
	for s := bufio.NewScanner(f); s.Scan(); {
		line := s.Text()
		if first, _, _ := strings.Cut(line, " "); strings.Contains(first, "-") {
			ram = strings.Contains(line, "ringo-guest-ram")
		}
		if n, _ := fmt.Sscanf(line, "Rss: %d kB", &kib); n == 1 && !ram {
			total += kib << 10
		}
	}
	return total
}

// The monitor takes at most 20 MiB beside the guest's memory.
func TestOnKVMMemory(t *testing.T) {
	kvmtest.Require(t)
	o := options(t, 2, "")
	c := exec.Command(filepath.Join(filepath.Dir(o.Kernel), "vmm"), "run", "--host", "kvm", "--cpus", "2", "--", "/bin/sh", "-c", "echo up; cat")
	stdin, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.Stderr = os.Stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer c.Wait()
	defer stdin.Close()
	waitFor(t, stdout, "up")
	n := resident(t, c.Process.Pid)
	t.Logf("the monitor's own memory: %d KiB", n>>10)
	if n > 20<<20 || n < 1<<20 {
		t.Errorf("the monitor's own memory is %d KiB, want at most 20 MiB", n>>10)
	}
}

// A guest that has ended leaves nothing behind.
func TestOnKVMNothingLeaks(t *testing.T) {
	kvmtest.Require(t)
	once := func() {
		o := options(t, 2, "echo up")
		var stdout bytes.Buffer
		o.Stdout = &stdout
		out, err := guest.Run(t.Context(), o)
		var crash *guest.CrashError
		if errors.As(err, &crash) {
			t.Fatalf("%v\n%s\n%s", err, out.Log, crash.Report)
		}
		if err != nil || stdout.String() != "up\n" {
			t.Fatalf("%v, stdout %q", err, stdout.String())
		}
	}
	descriptors := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	once()
	fds, goroutines := descriptors(), runtime.NumGoroutine()
	const rounds = 8
	for range rounds {
		once()
	}
	if n := descriptors(); n > fds {
		t.Errorf("%d file descriptors after %d guests, %d before", n, rounds, fds)
	}
	if n := runtime.NumGoroutine(); n >= goroutines+rounds {
		t.Errorf("%d goroutines after %d guests, %d before", n, rounds, goroutines)
	}
}
