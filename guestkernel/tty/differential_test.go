package tty

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/vfs"
	"ringo/guestkernel/vfs/vfstest"
)

// memoryLine is a wire that takes everything.
type memoryLine struct{ out []byte }

func (l *memoryLine) TryWrite(b []byte) int {
	l.out = append(l.out, b...)
	return len(b)
}

// recorder is a task layer that notes signals.
type recorder struct {
	sent    []string
	session map[int]int // by process group
}

func (r *recorder) SignalProcessGroup(pgid, sig int) {
	r.sent = append(r.sent, fmt.Sprintf("%d:%s", pgid, unix.SignalName(unix.Signal(sig))))
}
func (r *recorder) SessionOf(pgid int) int { return r.session[pgid] }

// hostPTY opens a pty of the Linux host.
func hostPTY(t *testing.T) (master, slave int) {
	t.Helper()
	master, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Skipf("no ptys here: %v", err)
	}
	if err := unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err != nil {
		t.Skipf("unlock pty: %v", err)
	}
	n, err := unix.IoctlGetInt(master, unix.TIOCGPTN)
	if err != nil {
		t.Skipf("pty number: %v", err)
	}
	slave, err = unix.Open(fmt.Sprintf("/dev/pts/%d", n), unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		unix.Close(master)
		t.Skipf("open pty: %v", err)
	}
	return master, slave
}

// readSome reads until want bytes have come, then a little longer to see whether there are more.
func readSome(fd, want int) []byte {
	var got []byte
	b := make([]byte, 8192)
	deadline := time.Now().Add(time.Second)
	for {
		n, err := unix.Read(fd, b)
		if n > 0 {
			got = append(got, b[:n]...)
			continue
		}
		if n == 0 && err == nil {
			return got
		}
		wait := 2 * time.Millisecond
		if len(got) < want {
			wait = time.Until(deadline)
		}
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if n, _ := unix.Poll(p, int(wait.Milliseconds())); n <= 0 {
			return got
		}
	}
}

// TestLineDisciplineLikeLinux sends the same keys through a pty of the host and through ours, with the same random settings, and compares what is
// echoed, what a program that writes shows, and what it reads.
func TestLineDisciplineLikeLinux(t *testing.T) {
	rounds := 150
	if testing.Short() {
		rounds = 30
	}
	keys := "abcdefgh  _-XYZ\t\t\x7f\x7f\x7f\x15\x17\x04\r\n\n\n\x16\x12\x01\x1b\b\xc3\xa9\x11\x00"
	for seed := range rounds {
		r := rand.New(rand.NewPCG(uint64(seed), 7))
		settings := Default
		settings.Lflag |= unix.NOFLSH
		flip := func(flags *uint32, of ...uint32) {
			for _, f := range of {
				if r.IntN(3) == 0 {
					*flags ^= f
				}
			}
		}
		flip(&settings.Iflag, unix.ICRNL, unix.INLCR, unix.IGNCR, unix.ISTRIP, unix.IUTF8, unix.IXON, unix.IXANY)
		flip(&settings.Oflag, unix.OPOST, unix.ONLCR, unix.OCRNL, unix.ONOCR, unix.ONLRET, unix.XTABS, unix.OLCUC)
		flip(&settings.Lflag, unix.ECHO, unix.ECHOE, unix.ECHOK, unix.ECHOKE, unix.ECHOCTL, unix.ECHONL, unix.IEXTEN, unix.ISIG)
		if r.IntN(3) == 0 {
			settings.Lflag &^= unix.ICANON
		}
		var input strings.Builder
		for range 5 + r.IntN(60) {
			input.WriteByte(keys[r.IntN(len(keys))])
		}
		output := []string{"", "hello\n", "a\tb\r\nc\bd", "x\n\ny\r"}[r.IntN(4)]

		line := &memoryLine{}
		ours := New(line, &recorder{}, NewSessions(), nil)
		ours.termios = settings
		caller := vfstest.NewCaller(vfs.Path{Mount: vfs.AnonymousMount("test")})
		d := &vfs.Description{}
		if err := d.SetStatusFlags(caller, unix.O_NONBLOCK); err != nil {
			t.Fatal(err)
		}
		f := file{t: ours}
		if _, err := f.Write(caller, d, vfs.Bytes(output), nil); err != nil {
			t.Fatal(err)
		}
		if n := ours.Receive([]byte(input.String())); n != input.Len() {
			t.Fatalf("took %d of %d bytes", n, input.Len())
		}

		master, slave := hostPTY(t)
		host := unix.Termios{Iflag: settings.Iflag, Oflag: settings.Oflag, Cflag: settings.Cflag, Lflag: settings.Lflag}
		copy(host.Cc[:], settings.Cc[:])
		if err := unix.IoctlSetTermios(slave, unix.TCSETS, &host); err != nil {
			t.Fatal(err)
		}
		if _, err := unix.Write(slave, []byte(output)); err != nil && output != "" {
			t.Fatal(err)
		}
		if _, err := unix.Write(master, []byte(input.String())); err != nil {
			t.Fatal(err)
		}
		echoed := readSome(master, len(line.out))
		describe := fmt.Sprintf("seed %d: iflag %#x oflag %#x lflag %#x\nkeys   %q\noutput %q", seed, settings.Iflag, settings.Oflag, settings.Lflag, input.String(), output)
		if string(echoed) != string(line.out) {
			t.Errorf("%s\nLinux shows %q\nours shows  %q", describe, echoed, line.out)
		}
		for i := range 100 {
			size := 1 + r.IntN(30)
			b := make(vfs.Bytes, size)
			n, err := f.Read(caller, d, b, nil)
			if err != nil {
				n = -1
			}
			hb := make([]byte, size)
			hn, herr := unix.Read(slave, hb)
			if herr != nil {
				hn = -1
			}
			if n != hn || string(b[:max(n, 0)]) != string(hb[:max(hn, 0)]) {
				t.Errorf("%s\nread %d of %d bytes: Linux %d %q, ours %d %q", describe, i, size, hn, hb[:max(hn, 0)], n, b[:max(n, 0)])
				break
			}
			if n < 0 {
				break
			}
		}
		unix.Close(master)
		unix.Close(slave)
		if t.Failed() {
			return
		}
	}
}
