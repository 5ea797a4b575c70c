package control

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func testDir(t *testing.T) *Dir {
	t.Helper()
	// Longer than an address of unix(7) can be.
	d, err := openDir(filepath.Join(t.TempDir(), strings.Repeat("x", 90)))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestNames(t *testing.T) {
	for name, ok := range map[string]bool{
		"a": true, "web-1": true, "A.b_c": true, strings.Repeat("x", MaxName): true, "0": true,
		"": false, ".": false, "..": false, "-x": false, "a/b": false, "a b": false, "a\n": false, "ü": false, "../etc": false,
		strings.Repeat("x", MaxName+1): false, "a\x00b": false,
	} {
		if err := CheckName(name); (err == nil) != ok || err != nil && !errors.Is(err, ErrName) {
			t.Errorf("CheckName(%q) = %v, want ok %t", name, err, ok)
		}
	}
	d := testDir(t)
	if _, err := d.Claim("../x", Owner{}); !errors.Is(err, ErrName) {
		t.Errorf("Claim of a bad name: %v", err)
	}
	if _, err := d.Dial("../x"); !errors.Is(err, ErrName) {
		t.Errorf("Dial of a bad name: %v", err)
	}
}

func TestFolderMustBePrivate(t *testing.T) {
	open := filepath.Join(t.TempDir(), "open")
	if err := errors.Join(os.Mkdir(open, 0o755), os.Chmod(open, 0o755)); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(t.TempDir(), link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{open, link} {
		if _, err := openDir(path); err == nil {
			t.Errorf("openDir(%s) accepts what others may enter or redirect", path)
		}
	}
}

func TestClaim(t *testing.T) {
	d := testDir(t)
	n, err := d.Claim("web", Owner{PID: 7, Host: "kvm"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Claim("web", Owner{}); !errors.Is(err, ErrTaken) {
		t.Errorf("second Claim: %v, want ErrTaken", err)
	}
	g1, err1 := d.Claim("", Owner{PID: 8})
	g2, err2 := d.Claim("", Owner{PID: 9})
	if err := errors.Join(err1, err2); err != nil || g1.String() != "guest-1" || g2.String() != "guest-2" {
		t.Fatalf("generated names %v, %v (%v)", g1, g2, err)
	}
	list, err := d.List()
	if err != nil || len(list) != 3 || list[2] != (Entry{"web", Owner{7, "kvm"}}) {
		t.Errorf("List = %v, %v", list, err)
	}
	if _, err := d.Dial("web"); !errors.Is(err, ErrNone) || !strings.Contains(err.Error(), "starting") {
		t.Errorf("Dial before Listen: %v", err)
	}
	for _, n := range []*Name{n, g1, g2} {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	}
	if files, err := os.ReadDir(d.path); err != nil || len(files) != 0 {
		t.Errorf("left behind: %v, %v", files, err)
	}
}

// A monitor that dies leaves its files; they neither hold the name nor show as a guest.
func TestDeadOwner(t *testing.T) {
	if os.Getenv("RINGO_TEST_CLAIM") != "" {
		d, err := openDir(os.Getenv("RINGO_TEST_CLAIM"))
		if err == nil {
			var n *Name
			if n, err = d.Claim("web", Owner{PID: os.Getpid()}); err == nil {
				_, err = n.Listen()
			}
		}
		fmt.Println("claimed", err)
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}
	d := testDir(t)
	child := exec.Command(os.Args[0], "-test.run=^TestDeadOwner$")
	child.Env = append(os.Environ(), "RINGO_TEST_CLAIM="+d.path)
	stdin, err1 := child.StdinPipe()
	stdout, err2 := child.StdoutPipe()
	if err := errors.Join(err1, err2, child.Start()); err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "claimed <nil>\n" {
		t.Fatalf("child says %q, %v", line, err)
	}
	if _, err := d.Claim("web", Owner{}); !errors.Is(err, ErrTaken) {
		t.Errorf("Claim while it lives: %v", err)
	}
	if e, err := d.Find("web"); err != nil || e.PID != child.Process.Pid {
		t.Errorf("Find while it lives: %v, %v", e, err)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait()
	if _, err := os.Lstat(d.socket("web")); err != nil {
		t.Fatalf("the dead owner's socket should still be there: %v", err)
	}
	if _, err := d.Dial("web"); !errors.Is(err, ErrNone) {
		t.Errorf("Dial of a dead owner's: %v", err)
	}
	if list, err := d.List(); err != nil || len(list) != 0 {
		t.Errorf("List = %v, %v", list, err)
	}
	if files, err := os.ReadDir(d.path); err != nil || len(files) != 0 {
		t.Errorf("left behind: %v, %v", files, err)
	}
}

// fake is a guest that remembers.
type fake struct{ log chan string }

func (f *fake) Info() Info    { return Info{Name: "web", Arch: "amd64", CPUs: 2, State: StateRunning} }
func (f *fake) Pause() error  { f.log <- "pause"; return nil }
func (f *fake) Resume() error { return fmt.Errorf("%w: a debugger holds it", ErrState) }
func (f *fake) Stop() error   { f.log <- "stop"; return nil }
func (f *fake) Backtrace() (Backtrace, error) {
	return Backtrace{Stacks: []Stack{{Name: "vCPU 0", Frames: []Frame{{PC: 0xffff_8000_0000_0001, Function: "f", Offset: 1}}}}}, nil
}
func (f *fake) Tasks() ([]Task, error) { return nil, fmt.Errorf("%w: no debug window", ErrUnsupported) }
func (f *fake) Core(w io.Writer) error {
	_, err := io.WriteString(w, "ELF")
	return err
}
func (f *fake) Top(_ context.Context, interval time.Duration, tell func(*Top) error) error {
	return errors.Join(tell(&Top{Elapsed: interval, Faults: 1}), tell(&Top{Elapsed: 2 * interval, Faults: 2}))
}
func (f *fake) Profile(_ context.Context, vcpu int, duration time.Duration) (*Profile, error) {
	return &Profile{Elapsed: duration, Samples: 3, User: 1, Functions: []ProfileFunction{{Function: fmt.Sprint("on ", vcpu), Flat: 2, Cumulative: 2, Lines: []ProfileLine{{"f.go", 7, 2}}}}}, nil
}
func (f *fake) SetGuard(mode string) error { f.log <- "guard " + mode; return nil }
func (f *fake) Watch(spec string, out io.Writer) (string, func() error, error) {
	if spec == "nonsense" {
		return "", nil, errors.New("no such variable")
	}
	_, err := io.WriteString(out, "a hit\n")
	return "debug register", func() error { f.log <- "removed"; return nil }, err
}
func (f *fake) Console(c io.ReadWriter) error {
	_, err := io.Copy(c, c)
	return err
}
func (f *fake) Debug(c net.Conn) error {
	var b [1]byte
	_, err := c.Read(b[:]) // until the server ends
	f.log <- "debug ended"
	return err
}

func serve(t *testing.T) (*fake, *Dir, *Client, *Server) {
	t.Helper()
	d := testDir(t)
	n, err := d.Claim("web", Owner{PID: 1})
	if err != nil {
		t.Fatal(err)
	}
	l, err := n.Listen()
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{make(chan string, 10)}
	s := NewServer(f)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), <-done, n.Close()); err != nil {
			t.Error(err)
		}
	})
	return f, d, NewClient(d, "web"), s
}

func TestRequests(t *testing.T) {
	f, d, c, _ := serve(t)
	ctx := t.Context()
	st, err := os.Stat(d.socket("web"))
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("socket mode %v, %v", st.Mode(), err)
	}
	var info Info
	if err := c.Get(ctx, "/v1/info", &info); err != nil || info.Name != "web" || info.CPUs != 2 {
		t.Errorf("info = %+v, %v", info, err)
	}
	if err := c.Post(ctx, "/v1/pause", nil, nil); err != nil || <-f.log != "pause" {
		t.Errorf("pause: %v", err)
	}
	if err := c.Post(ctx, "/v1/resume", nil, nil); !errors.Is(err, ErrState) || !strings.Contains(err.Error(), "debugger") {
		t.Errorf("resume: %v, want ErrState with its text", err)
	}
	if err := c.Get(ctx, "/v1/tasks", nil); !errors.Is(err, ErrUnsupported) {
		t.Errorf("tasks: %v, want ErrUnsupported", err)
	}
	var bt Backtrace
	if err := c.Get(ctx, "/v1/backtrace", &bt); err != nil || bt.Stacks[0].Frames[0].PC != 0xffff_8000_0000_0001 {
		t.Errorf("backtrace = %+v, %v: addresses must survive JSON", bt, err)
	}
	core, err := c.Stream(ctx, "/v1/core")
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(core)
	core.Close()
	if string(b) != "ELF" || err != nil {
		t.Errorf("core = %q, %v", b, err)
	}
	lines, err := c.Stream(ctx, "/v1/top?interval=2s")
	if err != nil {
		t.Fatal(err)
	}
	b, err = io.ReadAll(lines)
	lines.Close()
	if err != nil || strings.Count(string(b), "\n") != 2 || !strings.Contains(string(b), `"elapsed_ns":4000000000`) {
		t.Errorf("top = %q, %v", b, err)
	}
	if _, err := c.Stream(ctx, "/v1/top?interval=1ns"); !errors.Is(err, ErrRequest) {
		t.Errorf("top with a mad interval: %v", err)
	}
	for query, want := range map[string]string{"": "on -1", "?vcpu=1&duration=20ms": "on 1"} {
		var p Profile
		if err := c.Get(ctx, "/v1/profile"+query, &p); err != nil || p.Functions[0].Function != want || p.Functions[0].Lines[0].Line != 7 {
			t.Errorf("profile%s = %+v, %v, want %s", query, p, err, want)
		}
	}
	for _, query := range []string{"?vcpu=2", "?vcpu=-1", "?vcpu=x", "?duration=1h", "?duration=0s", "?duration=x"} {
		if err := c.Get(ctx, "/v1/profile"+query, nil); !errors.Is(err, ErrRequest) {
			t.Errorf("profile%s: %v, want ErrRequest", query, err)
		}
	}
	if err := c.Get(ctx, "/v1/nothing", nil); err == nil {
		t.Error("an unknown request is answered")
	}
	if _, err := NewClient(d, "nobody").Stream(ctx, "/v1/core"); !errors.Is(err, ErrNone) || strings.Contains(err.Error(), "http") {
		t.Errorf("no such guest: %v", err)
	}
}

// A watch lasts as long as its client.
func TestWatch(t *testing.T) {
	f, _, c, _ := serve(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream, err := c.Stream(ctx, "/v1/watch?spec=x.y")
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stream)
	for _, want := range []string{"watching x.y [debug register]", "a hit"} {
		if !lines.Scan() || lines.Text() != want {
			t.Errorf("line %q, want %q", lines.Text(), want)
		}
	}
	cancel()
	stream.Close()
	if got := <-f.log; got != "removed" {
		t.Errorf("log %q", got)
	}
	if _, err := c.Stream(t.Context(), "/v1/watch?spec=nonsense"); !errors.Is(err, ErrRequest) {
		t.Errorf("a watch that cannot be: %v", err)
	}
	if err := c.Post(t.Context(), "/v1/guard", guardRequest{"off"}, nil); err != nil || <-f.log != "guard off" {
		t.Errorf("guard: %v", err)
	}
}

func TestByteStream(t *testing.T) {
	_, _, c, _ := serve(t)
	conn, err := c.Upgrade(t.Context(), "/v1/console")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 5)
	if _, err := io.ReadFull(conn, b); err != nil || string(b) != "hello" {
		t.Errorf("echo %q, %v", b, err)
	}
	if err := c.Post(t.Context(), "/v1/console", nil, nil); !errors.Is(err, ErrRequest) {
		t.Errorf("without an upgrade: %v", err)
	}
}

// Close ends streams that nobody else would end.
func TestCloseEndsStreams(t *testing.T) {
	f, _, c, s := serve(t)
	conn, err := c.Upgrade(t.Context(), "/v1/gdb")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if got := <-f.log; got != "debug ended" {
		t.Errorf("log %q", got)
	}
}

func TestAwait(t *testing.T) {
	d := testDir(t)
	n, err := d.Claim("web", Owner{})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	done := make(chan error, 1)
	go func() { done <- d.Await(t.Context(), "web") }()
	l, err := n.Listen()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	if err := <-done; err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := d.Await(ctx, "nobody"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Await of nobody: %v", err)
	}
}
