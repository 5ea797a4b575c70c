package tty

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/vfs"
	"ringo/guestkernel/vfs/vfstest"
	"ringo/guestkernel/wait"
)

type fixture struct {
	*Terminal
	f    file
	d    *vfs.Description
	c    *vfstest.Caller
	line *memoryLine
	sent *recorder
}

// newFixture is a terminal that controls session 100, with the caller's group 100 in the foreground.
func newFixture() *fixture {
	x := &fixture{line: &memoryLine{}, sent: &recorder{session: map[int]int{100: 100, 101: 100, 200: 200}}, d: &vfs.Description{}}
	x.Terminal = New(x.line, x.sent, NewSessions(), nil)
	x.f = file{t: x.Terminal}
	x.c = vfstest.NewCaller(vfs.Path{Mount: vfs.AnonymousMount("test")})
	x.Control(100, 100)
	return x
}

func (x *fixture) read(n int) (string, error) {
	b := make(vfs.Bytes, n)
	n, err := x.f.Read(x.c, x.d, b, nil)
	return string(b[:n]), err
}

// ioctl passes value in user memory.
func (x *fixture) ioctl(cmd uint32, value []byte) ([]byte, error) {
	copy(x.c.Memory, value)
	_, err := x.f.Ioctl(x.c, x.d, cmd, vfstest.MemoryBase)
	return x.c.Memory, err
}

func TestSignalKeys(t *testing.T) {
	x := newFixture()
	x.Receive([]byte("half\x03\x1c\x1a"))
	if got := strings.Join(x.sent.sent, " "); got != "100:SIGINT 100:SIGQUIT 100:SIGTSTP" {
		t.Errorf("signals %s", got)
	}
	x.Receive([]byte("whole\n"))
	if s, err := x.read(100); s != "whole\n" || err != nil {
		t.Errorf("read %q, %v: an interrupt forgets what was typed", s, err)
	}
	x.SetWindowSize(10, 20)
	x.SetWindowSize(10, 20)
	if got := x.sent.sent[3:]; len(got) != 1 || got[0] != "100:SIGWINCH" {
		t.Errorf("signals of one change of size: %v", got)
	}
}

func TestEndOfFile(t *testing.T) {
	x := newFixture()
	x.Receive([]byte("abc\x04\x04def\n"))
	for _, want := range []string{"abc", "", "def\n"} {
		if s, err := x.read(100); s != want || err != nil {
			t.Errorf("read %q, %v, want %q", s, err, want)
		}
	}
	if _, err := x.read(100); err != wait.ErrWouldBlock {
		t.Errorf("nothing typed: %v", err)
	}
}

func TestBackground(t *testing.T) {
	x := newFixture()
	x.c.Group = 101
	for _, k := range []struct {
		what    string
		stopped unix.Signal
		orphan  bool
		op      func() error
		want    error
		sent    string
	}{
		{"read", 0, false, func() error { _, err := x.read(1); return err }, wait.ErrRestart, "101:SIGTTIN"},
		{"read, ignoring", unix.SIGTTIN, false, func() error { _, err := x.read(1); return err }, unix.EIO, ""},
		{"read, orphaned", 0, true, func() error { _, err := x.read(1); return err }, unix.EIO, ""},
		{"write", 0, false, func() error { _, err := x.f.Write(x.c, x.d, vfs.Bytes("x"), nil); return err }, nil, ""},
		{"TIOCSPGRP", 0, false, func() error { _, err := x.ioctl(unix.TIOCSPGRP, []byte{101, 0, 0, 0}); return err }, wait.ErrRestart, "101:SIGTTOU"},
		{"TCSETS", 0, false, func() error { _, err := x.ioctl(unix.TCSETS, Default.encode()); return err }, wait.ErrRestart, "101:SIGTTOU"},
		{"TIOCSPGRP, ignoring", unix.SIGTTOU, false, func() error { _, err := x.ioctl(unix.TIOCSPGRP, []byte{101, 0, 0, 0}); return err }, nil, ""},
	} {
		x.sent.sent = nil
		x.c.Stopped = map[unix.Signal]bool{k.stopped: true}
		x.c.InOrphanedGroup = k.orphan
		if err := k.op(); err != k.want || strings.Join(x.sent.sent, " ") != k.sent {
			t.Errorf("%s: %v with signals %v, want %v with %q", k.what, err, x.sent.sent, k.want, k.sent)
		}
	}
	if x.Foreground() != 101 {
		t.Errorf("foreground %d, want 101", x.Foreground())
	}
	x.c.Stopped = nil
	x.c.InOrphanedGroup = false
	for pgid, want := range map[byte]error{100: nil, 200: unix.EPERM, 77: unix.ESRCH} {
		x.Control(100, 101)
		if _, err := x.ioctl(unix.TIOCSPGRP, []byte{pgid, 0, 0, 0}); err != want {
			t.Errorf("TIOCSPGRP %d: %v, want %v", pgid, err, want)
		}
	}
}

func TestControllingTerminal(t *testing.T) {
	x := newFixture()
	x.sessions.LeaderExited(100)
	if got := strings.Join(x.sent.sent, " "); got != "100:SIGHUP 100:SIGCONT" {
		t.Errorf("signals at the leader's end: %s", got)
	}
	if _, err := x.ioctl(unix.TIOCGPGRP, nil); err != unix.ENOTTY {
		t.Errorf("TIOCGPGRP without session: %v, want ENOTTY", err)
	}
	x.c.Process = 101
	if _, err := x.f.Ioctl(x.c, x.d, unix.TIOCSCTTY, 0); err != unix.EPERM {
		t.Errorf("TIOCSCTTY by no leader: %v, want EPERM", err)
	}
	x.c.Process = 100
	if _, err := x.f.Ioctl(x.c, x.d, unix.TIOCSCTTY, 0); err != nil {
		t.Errorf("TIOCSCTTY: %v", err)
	}
	if m, err := x.ioctl(unix.TIOCGSID, nil); err != nil || m[0] != 100 {
		t.Errorf("TIOCGSID: %d, %v", m[0], err)
	}
	other := vfstest.NewCaller(vfs.Path{Mount: vfs.AnonymousMount("test")})
	other.Process, other.Group, other.Session = 200, 200, 200
	if _, err := x.f.Ioctl(other, x.d, unix.TIOCSCTTY, 0); err != unix.EPERM {
		t.Errorf("TIOCSCTTY of a taken terminal: %v, want EPERM", err)
	}
	if _, err := x.f.Ioctl(other, x.d, unix.TIOCSCTTY, 1); err != nil {
		t.Errorf("stealing it: %v", err)
	}
	if x.sessions.of(100) != nil || x.sessions.of(200) != x.Terminal {
		t.Error("the sessions do not know of it")
	}
}

func TestTermiosRoundTrip(t *testing.T) {
	x := newFixture()
	for get, size := range map[uint32]int{unix.TCGETS: 36, 0x802c542a: 44} {
		clear(x.c.Memory)
		m, err := x.ioctl(get, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(strings.TrimRight(string(m), "\x00")) > size {
			t.Errorf("request %#x writes more than %d bytes", get, size)
		}
	}
	raw := Default
	raw.Lflag = 0
	raw.Cc[unix.VMIN] = 3
	if _, err := x.ioctl(unix.TCSETS, raw.encode()); err != nil {
		t.Fatal(err)
	}
	x.Receive([]byte("ab"))
	if _, err := x.read(10); err != wait.ErrWouldBlock {
		t.Errorf("2 of VMIN 3 bytes: %v, want ErrWouldBlock", err)
	}
	if m := x.f.Readiness(x.d); m&wait.In != 0 {
		t.Error("readable with 2 of VMIN 3 bytes")
	}
	x.Receive([]byte("c"))
	if s, err := x.read(10); s != "abc" || err != nil {
		t.Errorf("read %q, %v", s, err)
	}
	x.Receive([]byte("xy"))
	if _, err := x.ioctl(unix.TCSETSF, Default.encode()); err != nil {
		t.Fatal(err)
	}
	x.Receive([]byte("z\n"))
	if s, _ := x.read(10); s != "z\n" {
		t.Errorf("TCSETSF kept input: %q", s)
	}
}

// TestVTime: a read that waits for the time between bytes.
func TestVTime(t *testing.T) {
	x := newFixture()
	raw := Default
	raw.Lflag = 0
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 0, 1
	if _, err := x.ioctl(unix.TCSETS, raw.encode()); err != nil {
		t.Fatal(err)
	}
	read := func() (string, error) {
		var s string
		err := wait.Block(x.c, x.f, wait.Readable, time.Time{}, func() (e error) {
			s, e = x.read(10)
			return e
		})
		return s, err
	}
	start := time.Now()
	if s, err := read(); s != "" || err != nil {
		t.Errorf("timed read: %q, %v", s, err)
	}
	if d := time.Since(start); d < 100*time.Millisecond {
		t.Errorf("VTIME of 0.1 s ended after %v", d)
	}
	x.Receive([]byte("k"))
	if s, err := read(); s != "k" || err != nil {
		t.Errorf("timed read with a byte: %q, %v", s, err)
	}
	raw.Cc[unix.VMIN] = 5
	if _, err := x.ioctl(unix.TCSETS, raw.encode()); err != nil {
		t.Fatal(err)
	}
	x.Receive([]byte("ab"))
	if s, err := read(); s != "ab" || err != nil {
		t.Errorf("2 of 5 bytes within the time: %q, %v", s, err)
	}
}

// slowLine takes nothing until it is opened.
type slowLine struct {
	memoryLine
	open bool
}

func (l *slowLine) TryWrite(b []byte) int {
	if !l.open {
		return 0
	}
	return l.memoryLine.TryWrite(b)
}

func TestSlowLine(t *testing.T) {
	line := &slowLine{}
	term := New(line, &recorder{}, NewSessions(), nil)
	c := vfstest.NewCaller(vfs.Path{Mount: vfs.AnonymousMount("test")})
	d := &vfs.Description{}
	f := file{t: term}
	n, err := f.Write(c, d, make(vfs.Bytes, 100000), nil)
	if err != wait.ErrWouldBlock || n == 0 || n > maxOutput {
		t.Fatalf("write to a line that takes nothing: %d, %v", n, err)
	}
	if f.Readiness(d)&wait.Out != 0 {
		t.Error("writable with a full buffer")
	}
	if _, err := f.Ioctl(c, d, unix.TCSBRK, 1); err != wait.ErrWouldBlock {
		t.Errorf("tcdrain: %v, want ErrWouldBlock", err)
	}
	term.Receive([]byte(strings.Repeat("echo that nobody takes\n", 100000)))
	if len(term.out) > 3*maxOutput {
		t.Errorf("%d bytes of output are kept", len(term.out))
	}
	line.open = true
	term.Writable()
	if _, err := f.Ioctl(c, d, unix.TCSBRK, 1); err != nil || len(term.out) != 0 {
		t.Errorf("tcdrain of a line that takes all: %v, %d left", err, len(term.out))
	}
}

func FuzzReceive(f *testing.F) {
	f.Add([]byte("hello\x7f\r\n\x04\x15\x17\x16\x03\t\x7f"), uint32(unix.ICRNL|unix.IUTF8), uint32(unix.OPOST|unix.ONLCR), Default.Lflag, 3)
	f.Add([]byte("\t\t\x01\x7f\x7f\x7f"), uint32(0), uint32(unix.OPOST|unix.XTABS), uint32(0xffffffff), 1)
	f.Fuzz(func(t *testing.T, data []byte, iflag, oflag, lflag uint32, size int) {
		x := newFixture()
		x.termios.Iflag, x.termios.Oflag, x.termios.Lflag = iflag, oflag, lflag
		x.termios.Cc[unix.VTIME] = 0
		for len(data) > 0 {
			n := x.Receive(data)
			data = data[n:]
			if n == 0 {
				s, err := x.read(1 + size&0xff)
				if err != nil || s == "" && !x.termios.local(unix.ICANON) {
					t.Fatalf("takes no input and gives none: %q, %v", s, err)
				}
			}
		}
	})
}
