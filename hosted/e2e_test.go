package hosted

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The end-to-end tests boot machines of their own, beside whatever runs in the project's. They need RINGO_E2E=1, because the first time
// they download QEMU and kernels.

// envTestClient makes the test binary a client that runs its arguments in a machine, so that a test can kill it.
const envTestClient = "RINGO_TEST_CLIENT"

func TestMain(m *testing.M) {
	MaybeServe()
	if arch := os.Getenv(envTestClient); arch != "" {
		status, err := Run(context.Background(), arch, Command{Argv: os.Args[1:], Stdout: os.Stdout, Stderr: os.Stderr}, nil)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(status)
	}
	if os.Getenv("RINGO_E2E") == "" {
		os.Exit(m.Run())
	}
	os.Exit(withMachines(m))
}

func withMachines(m *testing.M) int {
	dir, err := os.MkdirTemp("", "ringo-hosted-test")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	os.Setenv(EnvRunDir, dir)
	defer func() {
		for _, arch := range Arches {
			if _, err := Stop(context.Background(), arch); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		}
	}()
	return m.Run()
}

func needMachines(t *testing.T) {
	t.Helper()
	if os.Getenv("RINGO_E2E") == "" {
		t.Skip("RINGO_E2E is not set: boots machines in QEMU")
	}
}

var probes struct {
	sync.Mutex
	path map[string]string
}

// probe returns the test program for arch. It is built into the project's build folder, which every command sees.
func probe(t *testing.T, arch string) string {
	t.Helper()
	probes.Lock()
	defer probes.Unlock()
	if p := probes.path[arch]; p != "" {
		return p
	}
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(root, "build", arch, "hosted-test-probe")
	cmd := exec.Command("go", "build", "-o", path, "./testdata/probe")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH="+arch)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the probe: %v: %s", err, out)
	}
	if probes.path == nil {
		probes.path = make(map[string]string)
	}
	probes.path[arch] = path
	return path
}

// eachArch runs a test in both machines.
func eachArch(t *testing.T, test func(t *testing.T, m *Machine, probe string)) {
	needMachines(t)
	for _, arch := range Arches {
		t.Run(arch, func(t *testing.T) {
			m, err := Open(t.Context(), arch, os.Stderr)
			if err != nil {
				t.Fatal(err)
			}
			test(t, m, probe(t, arch))
		})
	}
}

type result struct {
	status         int
	stdout, stderr string
}

func run(t *testing.T, m *Machine, c Command) result {
	t.Helper()
	var out, errs bytes.Buffer
	if c.Stdout == nil {
		c.Stdout = &out
	}
	c.Stderr = &errs
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	status, err := m.Run(ctx, c)
	if err != nil {
		t.Fatalf("%q: %v", c.Argv, err)
	}
	return result{status, out.String(), errs.String()}
}

func TestMachineOffersKVM(t *testing.T) {
	eachArch(t, func(t *testing.T, m *Machine, probe string) {
		want := fmt.Sprintf("kvm 12 on %s with 2 CPUs", m.arch)
		if got := run(t, m, Command{Argv: []string{probe, "kvm"}}); got != (result{0, want, ""}) {
			t.Errorf("got %+v, want %q", got, want)
		}
	})
}

func TestStreamsAreApartAndExact(t *testing.T) {
	eachArch(t, func(t *testing.T, m *Machine, probe string) {
		input := make([]byte, 5<<20+13)
		r := rand.NewChaCha8(sha256.Sum256([]byte("input")))
		r.Read(input)
		var out bytes.Buffer
		got := run(t, m, Command{Argv: []string{probe, "cat"}, Stdin: bytes.NewReader(input), Stdout: &out})
		if !bytes.Equal(out.Bytes(), input) {
			t.Errorf("%d bytes came back, and not those %d that were sent", out.Len(), len(input))
		}
		if want := fmt.Sprintf("%d bytes, <nil>", len(input)); got.status != 0 || got.stderr != want {
			t.Errorf("got %+v, want standard error %q", got, want)
		}
		if got := run(t, m, Command{Argv: []string{probe, "cat"}}); got.stderr != "0 bytes, <nil>" {
			t.Errorf("without standard input: %+v", got)
		}
	})
}

func TestExitStatus(t *testing.T) {
	eachArch(t, func(t *testing.T, m *Machine, probe string) {
		for _, c := range []struct {
			argv []string
			want int
		}{
			{[]string{"exit", "0"}, 0},
			{[]string{"exit", "1"}, 1},
			{[]string{"exit", "255"}, 255},
			{[]string{"die", "9"}, 137},
			{[]string{"die", "15"}, 143},
			{[]string{"die", "1"}, 129},
		} {
			if got := run(t, m, Command{Argv: append([]string{probe}, c.argv...)}); got.status != c.want {
				t.Errorf("%v: status %d, want %d", c.argv, got.status, c.want)
			}
		}
	})
}

func TestCommandsThatCannotStart(t *testing.T) {
	eachArch(t, func(t *testing.T, m *Machine, _ string) {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "plain"), "no program")
		write(t, filepath.Join(dir, "garbage"), "\x7fELF and no more")
		write(t, filepath.Join(dir, "script"), "#!/no/such/interpreter\n")
		for _, f := range []string{"garbage", "script"} {
			if err := os.Chmod(filepath.Join(dir, f), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		for name, want := range map[string]int{"nothing": 127, "plain": 126, "garbage": 126, "script": 126} {
			status, err := m.Run(t.Context(), Command{Argv: []string{filepath.Join(dir, name)}, Shares: []Share{{Path: dir}}})
			var start *StartError
			if !errors.As(err, &start) || status != want || start.Status != want {
				t.Errorf("%s: status %d, error %v; want %d", name, status, err, want)
			}
		}
		if _, err := m.Run(t.Context(), Command{Argv: []string{"x"}, Dir: "/no/such/folder"}); err == nil || !strings.Contains(err.Error(), "working folder") {
			t.Errorf("missing working folder: %v", err)
		}
	})
}

func TestEnvironmentAndFolder(t *testing.T) {
	eachArch(t, func(t *testing.T, m *Machine, probe string) {
		dir := filepath.Dir(probe)
		got := run(t, m, Command{Argv: []string{"./" + filepath.Base(probe), "environment"}, Dir: dir, Env: []string{"A=1", "B=two words"}})
		if want := "A=1\nB=two words\nwd " + dir + " session true\n"; got.stdout != want {
			t.Errorf("got %+v, want %q", got, want)
		}
	})
}

func TestSharesInside(t *testing.T) {
	eachArch(t, func(t *testing.T, m *Machine, probe string) {
		dir := t.TempDir()
		read, writable := filepath.Join(dir, "r"), filepath.Join(dir, "w")
		write(t, filepath.Join(read, "file"), "first")
		write(t, filepath.Join(writable, "file"), "")
		shares := []Share{{Path: read}, {Path: writable, Write: true}}
		do := func(args ...string) result {
			return run(t, m, Command{Argv: append([]string{probe}, args...), Shares: shares})
		}
		if got := do("write", filepath.Join(writable, "new"), "from inside"); got.status != 0 {
			t.Errorf("write to a writable share: %+v", got)
		}
		if b, err := os.ReadFile(filepath.Join(writable, "new")); string(b) != "from inside" {
			t.Errorf("outside sees %q, %v", b, err)
		}
		for _, path := range []string{filepath.Join(read, "file"), filepath.Join(read, "new"), probe + "-new"} {
			if got := do("write", path, "x"); got.status != 3 || !strings.Contains(got.stderr, "read-only file system") {
				t.Errorf("write to %s: %+v", path, got)
			}
		}
		if got := do("read", filepath.Join(dir, "other")); got.status != 3 {
			t.Errorf("a file that was not shared: %+v", got)
		}
		// What is seen inside is what is outside now, whichever way it changed.
		for i := range 5 {
			want := fmt.Sprint("version ", i)
			if i%2 == 0 {
				write(t, filepath.Join(read, "file"), want)
			} else {
				write(t, filepath.Join(read, "file.new"), want)
				if err := os.Rename(filepath.Join(read, "file.new"), filepath.Join(read, "file")); err != nil {
					t.Fatal(err)
				}
			}
			if got := do("read", filepath.Join(read, "file")); got.stdout != want {
				t.Errorf("change %d: %+v", i, got)
			}
		}
	})
}

func TestRebuiltProgramRuns(t *testing.T) {
	eachArch(t, func(t *testing.T, m *Machine, probe string) {
		program, err := os.ReadFile(probe)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "program")
		for i := range 6 {
			mark := fmt.Sprintf("mark%04d", i)
			target := path
			if i%2 == 1 { // the same length and name, with a new inode or in place
				target += ".new"
			}
			if err := os.WriteFile(target, append(bytes.Clone(program), mark...), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(target, path); err != nil {
				t.Fatal(err)
			}
			got := run(t, m, Command{Argv: []string{path, "self"}, Shares: []Share{{Path: filepath.Dir(path)}}})
			if got.stdout != path+" "+mark {
				t.Errorf("build %d: %+v", i, got)
			}
		}
	})
}

func TestTemporaryFolderIsTheCommandsOwn(t *testing.T) {
	eachArch(t, func(t *testing.T, m *Machine, probe string) {
		for range 2 {
			if got := run(t, m, Command{Argv: []string{probe, "temporary"}}); got != (result{0, "0", ""}) {
				t.Errorf("got %+v", got)
			}
		}
	})
}

func TestSignalsArrive(t *testing.T) {
	eachArch(t, func(t *testing.T, m *Machine, probe string) {
		signals := make(chan os.Signal)
		r, w := io.Pipe()
		go func() {
			lines := lineReader(r)
			for _, s := range []syscall.Signal{0, syscall.SIGINT, syscall.SIGUSR1, syscall.SIGHUP, syscall.SIGTERM} {
				if s != 0 {
					signals <- s
				}
				if line := lines(); s == 0 && line != "ready" || s != 0 && line != s.String() {
					t.Errorf("after %v: %q", s, line)
				}
			}
			io.Copy(io.Discard, r)
		}()
		got := run(t, m, Command{Argv: []string{probe, "signals"}, Signals: signals, Stdout: w})
		w.Close()
		if got.status != 5 {
			t.Errorf("got %+v", got)
		}
	})
}

// lineReader returns a function that reads the next line.
func lineReader(r io.Reader) func() string {
	return func() string {
		var line []byte
		var b [1]byte
		for {
			if _, err := io.ReadFull(r, b[:]); err != nil || b[0] == '\n' {
				return strings.TrimRight(string(line), "\r")
			}
			line = append(line, b[0])
		}
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestSignalPassesUnreadInput(t *testing.T) {
	eachArch(t, func(t *testing.T, m *Machine, probe string) {
		signals := make(chan os.Signal, 1)
		r, w := io.Pipe()
		go func() {
			if line := lineReader(r)(); line != "ready" {
				t.Errorf("got %q", line)
			}
			signals <- syscall.SIGTERM
			io.Copy(io.Discard, r)
		}()
		got := run(t, m, Command{Argv: []string{probe, "deaf"}, Stdin: endless{}, Stdout: w, Signals: signals})
		w.Close()
		if got.status != 9 {
			t.Errorf("got %+v", got)
		}
	})
}

func TestUnreadStreamDoesNotHoldTheOther(t *testing.T) {
	eachArch(t, func(t *testing.T, m *Machine, probe string) {
		// Standard error is taken by nobody until standard output has arrived.
		seen := make(chan struct{})
		r, w := io.Pipe()
		go func() {
			if line := lineReader(r)(); line != "done" {
				t.Errorf("got %q", line)
			}
			close(seen)
			io.Copy(io.Discard, r)
		}()
		blocked := writerFunc(func(p []byte) (int, error) { <-seen; return len(p), nil })
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		status, err := m.Run(ctx, Command{Argv: []string{probe, "flood", "200000"}, Stdout: w, Stderr: blocked})
		w.Close()
		if status != 0 || err != nil {
			t.Errorf("status %d, %v", status, err)
		}
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestTerminal(t *testing.T) {
	eachArch(t, func(t *testing.T, m *Machine, probe string) {
		input, typing := io.Pipe()
		output, screen := io.Pipe()
		sizes := make(chan Size)
		seen := make(chan string, 1)
		go func() {
			next := lineReader(output)
			lines := []string{next()}
			sizes <- Size{Rows: 30, Columns: 100}
			lines = append(lines, next(), next())
			io.WriteString(typing, "hello\n")
			typing.Close()
			rest, _ := io.ReadAll(output)
			seen <- strings.Join(lines, "|") + "|" + string(rest)
		}()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		status, err := m.Run(ctx, Command{Argv: []string{probe, "terminal"}, Stdin: input, Stdout: screen, TTY: true,
			Size: Size{Rows: 25, Columns: 80}, Resize: sizes})
		screen.Close()
		if status != 0 || err != nil {
			t.Fatalf("status %d, %v", status, err)
		}
		if got, want := <-seen, "80x25|100x30|controlling|hello\r\nread \"hello\\n\"\r\n"; got != want {
			t.Errorf("the screen shows %q, want %q", got, want)
		}
	})
}

func TestManyCommandsAtOnce(t *testing.T) {
	eachArch(t, func(t *testing.T, m *Machine, probe string) {
		var all sync.WaitGroup
		for i := range 12 {
			all.Go(func() {
				input := bytes.Repeat([]byte{byte(i)}, 100_000+i)
				var out bytes.Buffer
				got := run(t, m, Command{Argv: []string{probe, "cat"}, Stdin: bytes.NewReader(input), Stdout: &out})
				if got.status != 0 || !bytes.Equal(out.Bytes(), input) {
					t.Errorf("command %d: %+v, %d bytes", i, got, out.Len())
				}
			})
		}
		all.Wait()
	})
}

// lingering counts the processes of a name inside.
func lingering(t *testing.T, m *Machine, probe, name string) int {
	t.Helper()
	n, err := strconv.Atoi(run(t, m, Command{Argv: []string{probe, "find", name}}).stdout)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// awaitNone waits until no process of a name is left inside.
func awaitNone(t *testing.T, m *Machine, probe, name string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		n := lingering(t, m, probe, name)
		if n == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("%d processes of %s are left inside", n, name)
			return
		}
	}
}

func TestKilledClientTakesItsCommandAlong(t *testing.T) {
	eachArch(t, func(t *testing.T, m *Machine, probe string) {
		client := exec.Command(os.Args[0], probe, "linger", "victim")
		client.Env = append(os.Environ(), envTestClient+"="+m.arch)
		out, err := client.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := client.Start(); err != nil {
			t.Fatal(err)
		}
		next := lineReader(out)
		next()
		next() // itself and its child in another session
		if n := lingering(t, m, probe, "victim"); n != 2 {
			t.Errorf("%d processes linger, want 2", n)
		}
		if err := client.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		client.Wait()
		awaitNone(t, m, probe, "victim")
	})
}

func TestCancelledRunKillsItsCommand(t *testing.T) {
	eachArch(t, func(t *testing.T, m *Machine, probe string) {
		ctx, cancel := context.WithCancel(t.Context())
		r, w := io.Pipe()
		go func() {
			lineReader(r)()
			cancel()
			io.Copy(io.Discard, r)
		}()
		_, err := m.Run(ctx, Command{Argv: []string{probe, "linger", "cancelled"}, Stdout: w})
		w.Close()
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		awaitNone(t, m, probe, "cancelled")
	})
}

func TestNothingOutlivesItsCommand(t *testing.T) {
	eachArch(t, func(t *testing.T, m *Machine, probe string) {
		// The orphan holds standard output open; the command is over all the same.
		if got := run(t, m, Command{Argv: []string{probe, "orphan", "orphan"}}); got.status != 0 {
			t.Errorf("got %+v", got)
		}
		awaitNone(t, m, probe, "orphan")
	})
}
