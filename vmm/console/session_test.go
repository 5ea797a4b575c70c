package console

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/term"

	"ringo/internal/command"
	spec "ringo/virtio/console"
	device "ringo/virtio/device/console"
	driver "ringo/virtio/driver/console"
	"ringo/virtio/mmio"
	"ringo/virtio/virtiotest"
)

// guest is a kernel made of a Go function: the real device and driver, no machine.
type guest struct {
	t   *testing.T
	dev *device.Console
	tr  *mmio.Transport
	irq *virtiotest.Line
	drv *driver.Console

	command *command.Reader
	out     [spec.NumPorts]uint64 // bytes written by port
}

// boot runs kernel in a goroutine on a machine that ends with the test.
func boot(t *testing.T, kernel func(g *guest)) (Ports, *guest) {
	t.Helper()
	hang := time.AfterFunc(30*time.Second, func() {
		buf := make([]byte, 1<<20)
		panic("test hangs: " + t.Name() + "\n" + string(buf[:runtime.Stack(buf, true)]))
	})
	mem := virtiotest.NewMemory()
	g := &guest{t: t, irq: virtiotest.NewLine()}
	var err error
	if g.dev, err = device.New(spec.PortNames[:]...); err != nil {
		t.Fatal(err)
	}
	g.tr = mmio.NewTransport(g.dev, mem, g.irq)
	done, up := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		g.drv, err = driver.New(&virtiotest.Window{T: g.tr}, driver.Env{Alloc: mem.Alloc, Wait: g.irq.Wait})
		if err != nil {
			t.Error(err)
			close(up)
			return
		}
		close(up)
		g.command = command.NewReader(g.port(spec.PortCommand), command.MaxStart)
		kernel(g)
	}()
	t.Cleanup(func() {
		g.irq.Stop()
		g.tr.Close()
		g.dev.Close()
		<-done
		hang.Stop()
	})
	<-up
	return Ports{
		Console: g.dev.Port(spec.PortConsole), Command: g.dev.Port(spec.PortCommand), Stdio: g.dev.Port(spec.PortStdio),
		Stderr: g.dev.Port(spec.PortStderr), Log: g.dev.Port(spec.PortLog),
	}, g
}

func (g *guest) port(i int) *driver.Port { return g.drv.Port(spec.PortNames[i]) }

func (g *guest) write(port int, b []byte) {
	n, err := g.port(port).Write(b)
	if err != nil && !errors.Is(err, driver.ErrGone) {
		g.t.Errorf("guest write: %v", err)
	}
	g.out[port] += uint64(n)
}

func (g *guest) send(m command.Message) {
	if err := command.Write(g.port(spec.PortCommand), m); err != nil && !errors.Is(err, driver.ErrGone) {
		g.t.Errorf("guest send: %v", err)
	}
}

// receive answers the next message, nil when the machine is gone.
func (g *guest) receive() command.Message {
	m, err := g.command.Read()
	if err != nil {
		return nil
	}
	return m
}

func (g *guest) start() *command.Start {
	g.send(&command.Ready{Kernel: "test"})
	s, _ := g.receive().(*command.Start)
	return s
}

// exit ends the program and waits for Done, as the kernel does before it powers off.
func (g *guest) exit(code, signal int) {
	for _, p := range []int{spec.PortStdio, spec.PortStderr, spec.PortConsole} {
		_ = g.port(p).Drain()
	}
	g.send(&command.Exit{Code: code, Signal: signal, StdoutBytes: g.out[spec.PortStdio], StderrBytes: g.out[spec.PortStderr], ConsoleBytes: g.out[spec.PortConsole]})
	for {
		switch g.receive().(type) {
		case *command.Done, nil:
			return
		}
	}
}

func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

// run is Run with a check that it leaves no goroutine of its own and no descriptor.
func run(t *testing.T, ctx context.Context, o Options) (Result, error) {
	t.Helper()
	before := openFiles(t)
	r, err := Run(ctx, o)
	if after := openFiles(t); after > before {
		t.Errorf("%d descriptors open after Run, %d before", after, before)
	}
	buf := make([]byte, 1<<20)
	stacks := string(buf[:runtime.Stack(buf, true)])
	for _, g := range strings.Split(stacks, "\n\n") {
		if strings.Contains(g, "vmm/console.(*session)") {
			t.Errorf("goroutine left behind:\n%s", g)
		}
	}
	return r, err
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestOutputStatusAndStartArriveUnchanged(t *testing.T) {
	want := command.Start{Path: "/bin/x", Args: []string{"x", "a b", "\xc3\xa9"}, Env: []string{"A=1"}, Dir: "/tmp"}
	got := make(chan *command.Start, 1)
	out, errs := noise(3<<20), noise(100_000)
	ports, _ := boot(t, func(g *guest) {
		got <- g.start()
		g.write(spec.PortStdio, out)
		g.write(spec.PortStderr, errs)
		g.write(spec.PortLog, []byte("log line\n"))
		g.write(spec.PortConsole, []byte("console line\n"))
		_ = g.port(spec.PortLog).Drain()
		g.send(&command.Missing{Calls: map[string]uint64{"fanotify_init": 3}})
		g.exit(42, 0)
	})
	var stdout, stderr, log bytes.Buffer
	r, err := run(t, t.Context(), Options{Ports: ports, Start: want, Stdout: &stdout, Stderr: &stderr, Log: &log})
	if err != nil || r.Code != 42 || r.Signal != 0 || r.Kernel != "test" || r.Missing["fanotify_init"] != 3 {
		t.Fatalf("%+v, %v", r, err)
	}
	if !bytes.Equal(stdout.Bytes(), out) || !bytes.Equal(stderr.Bytes(), errs) {
		t.Errorf("stdout %d bytes of %d, stderr %d of %d, or different ones", stdout.Len(), len(out), stderr.Len(), len(errs))
	}
	if l := log.String(); !strings.Contains(l, "log line\n") || !strings.Contains(l, "console line\n") {
		t.Errorf("log is %q", l)
	}
	if s := <-got; s == nil || s.Path != want.Path || len(s.Args) != 3 || s.Args[1] != "a b" || s.Env[0] != "A=1" || s.Dir != "/tmp" || s.TTY {
		t.Errorf("Start became %+v", s)
	}
}

func TestStandardInputIsForwardedWithItsEnd(t *testing.T) {
	in := noise(2 << 20)
	ports, _ := boot(t, func(g *guest) { // cat
		g.start()
		total := ^uint64(0)
		end := make(chan uint64, 1)
		go func() {
			if m, ok := g.receive().(*command.StdinEnd); ok {
				end <- m.Bytes
			}
		}()
		buf := make([]byte, 70000)
		for n := uint64(0); n < total; {
			select {
			case total = <-end:
				continue
			default:
			}
			if k := g.port(spec.PortStdio).TryRead(buf); k > 0 {
				g.write(spec.PortStdio, buf[:k])
				n += uint64(k)
			} else {
				runtime.Gosched()
			}
		}
		g.exit(0, 0)
	})
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	go func() {
		_, _ = w.Write(in)
		w.Close()
	}()
	var stdout bytes.Buffer
	if res, err := run(t, t.Context(), Options{Ports: ports, Stdin: r, Stdout: &stdout}); err != nil || res.Code != 0 {
		t.Fatalf("%+v, %v", res, err)
	}
	if !bytes.Equal(stdout.Bytes(), in) {
		t.Fatalf("%d bytes of %d came back, or different ones", stdout.Len(), len(in))
	}
}

func TestAProgramThatEndsEarlyLeavesInputUnread(t *testing.T) {
	ports, _ := boot(t, func(g *guest) { // head -c 0, with a writer that never ends
		g.start()
		g.exit(0, 0)
	})
	r, w, err := os.Pipe() // nobody writes, nobody closes
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if res, err := run(t, t.Context(), Options{Ports: ports, Stdin: r}); err != nil || res.Code != 0 {
		t.Fatalf("%+v, %v", res, err)
	}
}

func TestSignalsReachTheProgram(t *testing.T) {
	started := make(chan struct{})
	ports, _ := boot(t, func(g *guest) {
		g.start()
		close(started)
		for {
			switch m := g.receive().(type) {
			case *command.Signal:
				g.exit(0, m.Number)
				return
			case nil:
				return
			}
		}
	})
	signals := make(chan os.Signal, 1)
	go func() { <-started; signals <- syscall.SIGTERM }()
	r, err := run(t, t.Context(), Options{Ports: ports, Signals: signals})
	if err != nil || r.Signal != int(syscall.SIGTERM) {
		t.Fatalf("%+v, %v", r, err)
	}
}

func TestInterruptsEndWhatDoesNotListen(t *testing.T) {
	for name, kernel := range map[string]func(g *guest){
		"before the kernel is ready": func(g *guest) { g.receive() },
		"program ignores them": func(g *guest) {
			g.start()
			for g.receive() != nil {
			}
		},
		"kernel does not read": func(g *guest) {
			g.start()
			<-g.t.Context().Done()
		},
	} {
		t.Run(name, func(t *testing.T) {
			ports, _ := boot(t, kernel)
			signals := make(chan os.Signal)
			ended := make(chan struct{})
			go func() {
				for {
					select {
					case signals <- syscall.SIGINT:
					case <-ended:
						return
					}
				}
			}()
			_, err := run(t, t.Context(), Options{Ports: ports, Signals: signals})
			close(ended)
			var interrupted *InterruptedError
			if !errors.As(err, &interrupted) || interrupted.Signal != syscall.SIGINT || !errors.Is(err, ErrInterrupted) {
				t.Fatalf("got %v", err)
			}
		})
	}
}

func TestABrokenOutputIsTheProgramsSIGPIPE(t *testing.T) {
	ports, _ := boot(t, func(g *guest) { // yes
		g.start()
		sig := make(chan int, 1)
		go func() {
			for {
				switch m := g.receive().(type) {
				case *command.Signal:
					sig <- m.Number
					return
				case nil:
					return
				}
			}
		}()
		for {
			select {
			case n := <-sig:
				g.exit(0, n)
				return
			default:
				g.write(spec.PortStdio, []byte("y\n"))
			}
		}
	})
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	r.Close()
	res, err := run(t, t.Context(), Options{Ports: ports, Stdout: w})
	if err != nil || res.Signal != int(syscall.SIGPIPE) {
		t.Fatalf("%+v, %v", res, err)
	}
}

func TestAMachineThatStopsIsReportedAfterItsLastWords(t *testing.T) {
	ports, g := boot(t, func(g *guest) {
		g.start()
		g.write(spec.PortStdio, []byte("half a li"))
		g.write(spec.PortLog, []byte("panic: out of luck\n"))
		_ = g.port(spec.PortStdio).Drain()
		_ = g.port(spec.PortLog).Drain()
		g.dev.Close() // what the machine's owner does when it stops
	})
	_ = g
	var stdout, log bytes.Buffer
	_, err := run(t, t.Context(), Options{Ports: ports, Stdout: &stdout, Log: &log})
	if !errors.Is(err, ErrEnded) || stdout.String() != "half a li" || log.String() != "panic: out of luck\n" {
		t.Fatalf("%v; stdout %q, log %q", err, &stdout, &log)
	}
}

func TestATimeoutEndsAGuestThatHangsAndAReaderThatSleeps(t *testing.T) {
	ports, _ := boot(t, func(g *guest) {
		g.start()
		g.write(spec.PortStdio, make([]byte, 4<<20)) // never fits
	})
	r, w, err := os.Pipe() // nobody reads
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err = run(t, ctx, Options{Ports: ports, Stdout: w})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("took %v", d)
	}
}

func TestAProgramThatDoesNotStart(t *testing.T) {
	ports, _ := boot(t, func(g *guest) {
		g.start()
		g.send(&command.Failed{Reason: command.ReasonNotFound, Errno: 2, Message: "/bin/x: not found"})
		g.receive()
	})
	r, err := run(t, t.Context(), Options{Ports: ports})
	if err != nil || r.Failed == nil || r.Failed.Reason != command.ReasonNotFound || r.Failed.Errno != 2 {
		t.Fatalf("%+v, %v", r, err)
	}
}

func TestTheKernelCannotBreakTheProtocolUnnoticed(t *testing.T) {
	for name, kernel := range map[string]func(g *guest){
		"exit before ready":      func(g *guest) { g.send(&command.Exit{}) },
		"failed before ready":    func(g *guest) { g.send(&command.Failed{}) },
		"ready twice":            func(g *guest) { g.start(); g.send(&command.Ready{}) },
		"the monitor's message":  func(g *guest) { g.send(&command.Start{}) },
		"status out of range":    func(g *guest) { g.start(); g.send(&command.Exit{Code: 256}) },
		"signal out of range":    func(g *guest) { g.start(); g.send(&command.Exit{Signal: 65}) },
		"no JSON":                func(g *guest) { g.write(spec.PortCommand, []byte("\x02\x00\x00\x00{]")) },
		"frame too long":         func(g *guest) { g.write(spec.PortCommand, []byte("\xff\xff\xff\x7f")) },
		"stderr count too large": func(g *guest) { g.start(); g.send(&command.Exit{StderrBytes: 1}); g.dev.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			ports, _ := boot(t, kernel)
			_, err := run(t, t.Context(), Options{Ports: ports})
			want := command.ErrProtocol
			if name == "stderr count too large" {
				want = ErrEnded
			}
			if !errors.Is(err, want) {
				t.Fatalf("got %v, want %v", err, want)
			}
		})
	}
}

func TestATerminalIsRawMeanwhileAndRestoredAfterwards(t *testing.T) {
	master, slave, err := pty.Open()
	if err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	defer master.Close()
	defer slave.Close()
	if err := pty.Setsize(master, &pty.Winsize{Rows: 33, Cols: 101}); err != nil {
		t.Fatal(err)
	}
	before, err := term.GetState(int(slave.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	started, resized := make(chan struct{}), make(chan struct{})
	ports, _ := boot(t, func(g *guest) {
		s := g.start()
		if s == nil || !s.TTY || s.Rows != 33 || s.Cols != 101 {
			t.Errorf("Start is %+v", s)
		}
		close(started)
		b := make([]byte, 1)
		if _, err := g.port(spec.PortConsole).Read(b); err != nil || b[0] != 3 {
			t.Errorf("Ctrl-C arrived as %v, %v; want the byte 3", b, err)
		}
		g.write(spec.PortConsole, []byte("prompt\n"))
		close(resized)
		if m, ok := g.receive().(*command.WindowSize); !ok || m.Rows != 40 || m.Cols != 80 {
			t.Errorf("got %+v, want a window size", m)
		}
		g.exit(7, 0)
	})
	signals := make(chan os.Signal, 1)
	got := make(chan string, 1)
	go func() {
		<-started
		_, _ = master.Write([]byte{3})
		b := make([]byte, 7)
		_, _ = io.ReadFull(master, b)
		got <- string(b)
		<-resized
		_ = pty.Setsize(master, &pty.Winsize{Rows: 40, Cols: 80})
		signals <- syscall.SIGWINCH
	}()
	// In cooked mode the byte 3 would be a signal or be held back for a line.
	r, err := run(t, t.Context(), Options{Ports: ports, Terminal: slave, Signals: signals})
	if err != nil || r.Code != 7 {
		t.Fatalf("%+v, %v", r, err)
	}
	if s := <-got; s != "prompt\n" {
		t.Errorf("terminal shows %q, want %q: raw mode adds nothing", s, "prompt\n")
	}
	after, err := term.GetState(int(slave.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	if *before != *after {
		t.Error("the terminal's state was not restored")
	}
}
