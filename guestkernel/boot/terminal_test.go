//go:build amd64

package boot

import (
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/tty"
	"ringo/guestkernel/vfs"
	"ringo/internal/command"
)

// keyboard is a console port that a test types on.
type keyboard struct {
	mu       sync.Mutex
	in, out  []byte
	readable func()
	changed  chan struct{}
}

func (p *keyboard) TryRead(b []byte) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := copy(b, p.in)
	p.in = p.in[n:]
	return n
}

func (p *keyboard) TryWrite(b []byte) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.out = append(p.out, b...)
	select {
	case p.changed <- struct{}{}:
	default:
	}
	return len(b)
}
func (p *keyboard) Gone() bool          { return false }
func (p *keyboard) OnReadable(f func()) { p.readable = f }
func (p *keyboard) OnWritable(func())   {}

func (p *keyboard) typed(s string) {
	p.mu.Lock()
	p.in = append(p.in, s...)
	p.mu.Unlock()
	p.readable()
}

// expect waits until the screen shows want behind what was seen before, and takes it away.
func (p *keyboard) expect(t *testing.T, want string) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		p.mu.Lock()
		i := strings.Index(string(p.out), want)
		if i >= 0 {
			p.out = p.out[i+len(want):]
		}
		screen := string(p.out)
		p.mu.Unlock()
		if i >= 0 {
			return
		}
		select {
		case <-p.changed:
		case <-deadline:
			t.Fatalf("no %q on the screen: %q", want, screen)
		}
	}
}

// TestShellOnTerminal types at an interactive shell: echo, erasing, interrupting, stopping and resuming jobs, the window size and the end of input.
func TestShellOnTerminal(t *testing.T) {
	files := map[string][]byte{"bin/busybox": busybox(t)}
	for _, a := range strings.Fields("sh sleep cat stty tty test vi") {
		files["bin/"+a] = []byte("-> /bin/busybox")
	}
	g := newGuest(t, nil)
	devices := vfs.NewDevices()
	port := &keyboard{changed: make(chan struct{}, 1)}
	terminal := tty.NewConsole(port, g.k, tty.NewSessions())
	tty.RegisterConsole(devices, terminal)
	archive := cpio(files)
	ns, err := NewRoot(RootConfig{Frames: g.m, Archive: archive, Random: func([]byte) {}, Log: func([]byte) {}, Devices: devices, Nodes: tty.Nodes})
	if err != nil {
		t.Fatal(err)
	}
	c := vfs.NewKernelCaller(ns.Root())
	d, err := vfs.Open(c, vfs.AtCwd(c), "/dev/console", unix.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	d.Ref()
	d.Ref()
	terminal.SetWindowSize(50, 132)
	group, failed := Start(g.k, ns, &command.Start{Path: "/bin/sh", Args: []string{"-sh", "-i"}, Env: []string{"PATH=/bin", "PS1=> ", "HOME=/"}, TTY: true},
		Streams{d, d, d}, func(pid int) { terminal.Control(pid, pid) })
	if failed != nil {
		t.Fatal(failed.Message)
	}
	port.expect(t, "> ")
	port.typed("echo hellp\x7fo\r")
	port.expect(t, "hello\r\n")
	port.expect(t, "> ")
	port.typed("stty size; tty; test -t 0 && echo terminal\r")
	port.expect(t, "\r\n50 132\r\n")
	port.expect(t, "terminal\r\n")
	port.expect(t, "> ")
	port.typed("sleep 100\r")
	port.expect(t, "sleep 100\r\n")
	waitForeground(t, terminal, group.PID())
	port.typed("\x03")
	port.expect(t, "^C")
	port.expect(t, "> ")
	port.typed("echo $?\r")
	port.expect(t, "\r\n130\r\n")
	port.expect(t, "> ")
	port.typed("cat\r")
	port.expect(t, "cat\r\n")
	waitForeground(t, terminal, group.PID()) // the shell edits lines in raw mode
	port.typed("line for cat\n")
	port.expect(t, "line for cat\r\nline for cat\r\n")
	port.typed("\x1a")
	port.expect(t, "Stopped")
	port.expect(t, "> ")
	port.typed("jobs; fg\r")
	port.expect(t, "cat\r\n")
	waitForeground(t, terminal, group.PID())
	port.typed("again\n")
	port.expect(t, "again\r\nagain\r\n")
	port.typed("\x04")
	port.expect(t, "> ")
	port.typed("cat &\r")
	port.expect(t, "> ")
	port.typed("sleep 0.2; jobs; kill %1; kill -CONT %1; sleep 0.2; jobs\r") // the background cat was stopped when it read
	port.expect(t, "Stopped")
	port.expect(t, "Terminated")
	port.expect(t, "> ")
	port.typed("vi /x\r")
	port.expect(t, "1/1 100%")
	port.typed("ihello\x1b")
	port.expect(t, "- /x")
	port.typed(":wq\r") // not at once: keys that come with ESC are one
	port.expect(t, "> ")
	port.typed("cat /x\r")
	port.expect(t, "\r\nhello\r\n")
	port.expect(t, "> ")
	port.typed("exit 7\r")
	select {
	case <-group.Ended():
	case <-time.After(20 * time.Second):
		t.Fatalf("the shell did not exit; screen %q", port.out)
	}
	if ws := group.ExitStatus(); ws.ExitStatus() != 7 {
		t.Errorf("exit status %v, want 7", ws.ExitStatus())
	}
	<-g.k.KillAll()
}

// waitForeground waits until another process group than the shell's has the terminal.
func waitForeground(t *testing.T, terminal *tty.Terminal, shell int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); terminal.Foreground() == shell; {
		if time.Now().After(deadline) {
			t.Fatal("the shell kept the terminal")
		}
		time.Sleep(time.Millisecond)
	}
}
