package hosted

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Lifecycle tests use the machine that boots fastest; what they test does not depend on the architecture.
const lifecycleArch = "arm64"

// freshMachine gives the test a run folder of its own, whose machine ends with the test.
func freshMachine(t *testing.T) (*Machine, string) {
	needMachines(t)
	t.Setenv(EnvRunDir, t.TempDir())
	p := probe(t, lifecycleArch)
	m, err := Open(t.Context(), lifecycleArch, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := Stop(context.Background(), lifecycleArch); err != nil {
			t.Error(err)
		}
	})
	return m, p
}

func status(t *testing.T) Status {
	t.Helper()
	s, err := QueryStatus(t.Context(), lifecycleArch)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// startLingering runs a command that stays and returns when it runs; its end is sent on the channel.
func startLingering(t *testing.T, m *Machine, probe string) <-chan error {
	t.Helper()
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := m.Run(t.Context(), Command{Argv: []string{probe, "linger", t.Name()}, Stdout: w})
		w.Close()
		done <- err
	}()
	if line := lineReader(r)(); line != "lingering" {
		t.Fatalf("got %q, %v", line, <-done)
	}
	go io.Copy(io.Discard, r)
	return done
}

func awaitGone(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); syscall.Kill(pid, 0) == nil; {
		if time.Now().After(deadline) {
			t.Errorf("process %d is still there", pid)
			return
		}
		time.Sleep(10 * time.Millisecond) // the end of a process that is not a child has no event
	}
}

// awaitIdle waits until the supervisor has seen its clients leave.
func awaitIdle(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); status(t).Commands != 0; {
		if time.Now().After(deadline) {
			t.Fatalf("commands still run: %+v", status(t))
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestSimultaneousFirstCommandsStartOneMachine(t *testing.T) {
	m, probe := freshMachine(t)
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() {
			client := exec.Command(os.Args[0], probe, "exit", "4")
			client.Env = append(os.Environ(), envTestClient+"="+lifecycleArch)
			out, err := client.CombinedOutput()
			if client.ProcessState.ExitCode() != 4 {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	all.Wait()
	log, err := os.ReadFile(filepath.Join(m.l.runDir(lifecycleArch), logName))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(log), "QEMU is process"); n != 1 {
		t.Errorf("%d machines were started:\n%s", n, log)
	}
	awaitIdle(t)
	if s := status(t); s.Served != 5 || s.Commands != 0 || s.State != "up" || s.KVM != "works" || !s.Current {
		t.Errorf("status %+v", s)
	}
}

func TestKilledSupervisorIsReplaced(t *testing.T) {
	m, probe := freshMachine(t)
	done := startLingering(t, m, probe)
	before := status(t)
	if err := syscall.Kill(before.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, ErrMachineLost) {
		t.Errorf("the command under it: %v", err)
	}
	awaitGone(t, before.QEMU)
	if got := run(t, m, Command{Argv: []string{probe, "exit", "6"}}); got.status != 6 {
		t.Errorf("the next command: %+v", got)
	}
	if after := status(t); after.PID == before.PID || after.QEMU == before.QEMU {
		t.Errorf("before %+v, after %+v", before, after)
	}
}

func TestKilledQEMUIsReportedAndReplaced(t *testing.T) {
	m, probe := freshMachine(t)
	done := startLingering(t, m, probe)
	if err := syscall.Kill(status(t).QEMU, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, ErrMachineLost) || !strings.Contains(err.Error(), "hosted-agent: ready") {
		t.Errorf("want a lost machine and the end of its console, got: %v", err)
	}
	if got := run(t, m, Command{Argv: []string{probe, "exit", "6"}}); got.status != 6 {
		t.Errorf("the next command: %+v", got)
	}
}

func TestFailedBootShowsTheConsole(t *testing.T) {
	m, probe := freshMachine(t)
	t.Setenv(EnvAppend, "rdinit=/no/such/init root=/dev/nothing")
	_, err := m.Run(t.Context(), Command{Argv: []string{probe, "exit", "0"}})
	if err == nil || !strings.Contains(err.Error(), "QEMU ended") || !strings.Contains(err.Error(), "Kernel panic") {
		t.Errorf("got: %v", err)
	}
	t.Setenv(EnvAppend, "")
	if got := run(t, m, Command{Argv: []string{probe, "exit", "6"}}); got.status != 6 {
		t.Errorf("the next command: %+v", got)
	}
}

func TestStopEndsRunningCommands(t *testing.T) {
	m, probe := freshMachine(t)
	done := startLingering(t, m, probe)
	qemu := status(t).QEMU
	was, err := Stop(t.Context(), lifecycleArch)
	if !was || err != nil {
		t.Errorf("Stop: %v, %v", was, err)
	}
	if err := <-done; !errors.Is(err, ErrMachineLost) {
		t.Errorf("the command: %v", err)
	}
	awaitGone(t, qemu)
	if s := status(t); s.Running {
		t.Errorf("status %+v", s)
	}
	if was, err := Stop(t.Context(), lifecycleArch); was || err != nil {
		t.Errorf("second Stop: %v, %v", was, err)
	}
}

func TestSignalDuringBootEndsTheCommand(t *testing.T) {
	m, probe := freshMachine(t)
	signals := make(chan os.Signal, 2)
	signals <- syscall.SIGUSR1 // means nothing to a command that has not begun
	signals <- syscall.SIGINT
	began := time.Now()
	status, err := m.Run(t.Context(), Command{Argv: []string{probe, "exit", "0"}, Signals: signals, Started: func() { t.Error("it started") }})
	if status != 130 || err != nil {
		t.Errorf("status %d, %v; want 130", status, err)
	}
	if d := time.Since(began); d > 2*time.Second {
		t.Errorf("it took %v", d)
	}
}

func TestIdleMachineEnds(t *testing.T) {
	m, probe := freshMachine(t)
	t.Setenv(EnvIdle, "1s")
	if got := run(t, m, Command{Argv: []string{probe, "exit", "0"}}); got.status != 0 {
		t.Fatalf("got %+v", got)
	}
	s := status(t)
	awaitGone(t, s.PID)
	awaitGone(t, s.QEMU)
}

func TestOutdatedMachineServesWhileBusyAndIsReplacedWhenIdle(t *testing.T) {
	m, probe := freshMachine(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	started := make(chan struct{})
	done := make(chan error, 1)
	r, w := io.Pipe()
	go func() {
		lineReader(r)()
		close(started)
		io.Copy(io.Discard, r)
	}()
	go func() {
		_, err := m.Run(ctx, Command{Argv: []string{probe, "linger", "busy"}, Stdout: w})
		w.Close()
		done <- err
	}()
	<-started
	first := status(t)
	t.Setenv(EnvAppend, "ringo.test=1") // another machine than the one that runs
	if got := run(t, m, Command{Argv: []string{probe, "exit", "0"}}); got.status != 0 {
		t.Fatalf("got %+v", got)
	}
	if s := status(t); s.PID != first.PID {
		t.Errorf("a busy machine was replaced: %+v, then %+v", first, s)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("the busy command: %v", err)
	}
	awaitIdle(t)
	if got := run(t, m, Command{Argv: []string{probe, "exit", "0"}}); got.status != 0 {
		t.Fatalf("got %+v", got)
	}
	if s := status(t); s.PID == first.PID {
		t.Errorf("the idle machine was not replaced: %+v", s)
	}
}
