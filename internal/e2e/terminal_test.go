package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
)

// terminal is a vmm on a pseudo-terminal and all that it has shown so far.
type terminal struct {
	t     *testing.T
	tty   *os.File
	mu    sync.Mutex
	shown bytes.Buffer
	more  chan struct{} // has room for one: something was shown
}

func (c *terminal) read() {
	buffer := make([]byte, 4096)
	for {
		n, err := c.tty.Read(buffer)
		c.mu.Lock()
		c.shown.Write(buffer[:n])
		c.mu.Unlock()
		select {
		case c.more <- struct{}{}:
		default:
		}
		if err != nil {
			return // EIO: the other side is closed
		}
	}
}

// expect waits until text has been shown after what earlier calls consumed.
func (c *terminal) expect(text string) {
	c.t.Helper()
	limit := time.After(3 * time.Minute)
	for {
		c.mu.Lock()
		if _, after, ok := strings.Cut(c.shown.String(), text); ok {
			c.shown.Reset()
			c.shown.WriteString(after)
			c.mu.Unlock()
			return
		}
		seen := c.shown.String()
		c.mu.Unlock()
		select {
		case <-c.more:
		case <-limit:
			c.t.Fatalf("the terminal never showed %q; since the last match it showed %q", text, seen)
		}
	}
}

func (c *terminal) send(keys string) {
	c.t.Helper()
	if _, err := c.tty.WriteString(keys); err != nil {
		c.t.Fatal(err)
	}
}

func TestInteractiveShell(t *testing.T) {
	everyMachine(t, func(t *testing.T, machine []string) {
		vmm, err := VMM()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(vmm, with([]string{"run"}, machine...)...)
		tty, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 33, Cols: 101})
		if err != nil {
			t.Fatal(err)
		}
		defer tty.Close()
		c := &terminal{t: t, tty: tty, more: make(chan struct{}, 1)}
		go c.read()
		done := make(chan error, 1)
		go func() { done <- cmd.Wait() }()
		defer cmd.Process.Kill()

		c.expect("# ")
		c.send("stty size\r")
		c.expect("33 101")
		c.expect("# ")
		if err := pty.Setsize(tty, &pty.Winsize{Rows: 20, Cols: 60}); err != nil {
			t.Fatal(err)
		}
		// The size travels beside the keys: ask until it has arrived.
		c.send("until [ \"$(stty size)\" = '20 60' ]; do :; done; echo re'sized'\r")
		c.expect("resized")
		c.expect("# ")
		// The program says it itself: it is the foreground process group by then.
		c.send("sh -c 'echo sta\"rted\"; exec sleep 1000'\r")
		c.expect("started")
		c.send("\x03")
		c.expect("# ")
		c.send("echo \"status $?\"\r")
		c.expect(fmt.Sprintf("status %d", 128+2))
		c.expect("# ")
		c.send("exit 5\r")
		select {
		case <-done:
		case <-time.After(time.Minute):
			t.Fatal("vmm did not end within a minute of the shell's exit")
		}
		if status := cmd.ProcessState.ExitCode(); status != 5 {
			t.Errorf("status %d, want 5", status)
		}
	})
}
