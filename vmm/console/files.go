package console

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// stopper is a channel that is also a file descriptor: poll sees both.
type stopper struct {
	c      chan struct{}
	once   sync.Once
	rd, wr int
}

func newStopper() (*stopper, error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return nil, fmt.Errorf("pipe: %w", err)
	}
	return &stopper{c: make(chan struct{}), rd: p[0], wr: p[1]}, nil
}

// stop ends everybody who waits: the read end polls as hung up.
func (s *stopper) stop() {
	s.once.Do(func() {
		close(s.c)
		unix.Close(s.wr)
	})
}

// close gives the descriptor back. Nobody may wait any more, and stop was called.
func (s *stopper) close() { unix.Close(s.rd) }

// stoppableFile reads or writes a file that may block (terminal, pipe, socket) so that
// stop ends it. Standard streams are usually in blocking mode and shared with other
// processes, so neither deadlines nor O_NONBLOCK can be used on them. One goroutine at a
// time.
type stoppableFile struct {
	f    *os.File
	stop *stopper
	kind fileKind
}

type fileKind int

const (
	fileUnknown  fileKind = iota
	fileRegular           // never blocks; cannot be polled usefully
	filePollable          // anything else
)

// wait blocks until the file is ready or stop.
func (f *stoppableFile) wait(events int16) error {
	if f.kind == fileUnknown {
		info, err := f.f.Stat()
		if err != nil {
			return err
		}
		if f.kind = filePollable; info.Mode().IsRegular() {
			f.kind = fileRegular
		}
	}
	if f.kind == fileRegular {
		select {
		case <-f.stop.c:
			return errStopped
		default:
			return nil
		}
	}
	fds := []unix.PollFd{{Fd: int32(f.f.Fd()), Events: events}, {Fd: int32(f.stop.rd), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(fds, -1)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("poll: %w", err)
		}
		if fds[1].Revents != 0 {
			return errStopped
		}
		return nil // readiness, or an error that the call itself will report
	}
}

func (f *stoppableFile) Read(p []byte) (int, error) {
	if err := f.wait(unix.POLLIN); err != nil {
		return 0, err
	}
	return f.f.Read(p)
}

// Write writes all of p. A pipe that polls as writable takes 4096 bytes (PIPE_BUF) at
// once, so a blocking one is given no more.
func (f *stoppableFile) Write(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		if err := f.wait(unix.POLLOUT); err != nil {
			return n, err
		}
		chunk := len(p) - n
		if f.kind != fileRegular {
			chunk = min(chunk, 4096)
		}
		k, err := f.f.Write(p[n : n+chunk])
		n += k
		if err != nil && !errors.Is(err, syscall.EAGAIN) {
			return n, err
		}
	}
	return n, nil
}

// IsTerminal reports whether f is a terminal.
func IsTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// windowSize is the terminal's size, 0 and 0 when it has none.
func windowSize(f *os.File) (rows, cols uint16) {
	w, h, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0, 0
	}
	return uint16(min(max(h, 0), 1<<16-1)), uint16(min(max(w, 0), 1<<16-1))
}

// makeRaw puts the terminal into raw mode and answers what undoes that.
func makeRaw(f *os.File) (restore func(), err error) {
	state, err := term.MakeRaw(int(f.Fd()))
	if err != nil {
		return func() {}, fmt.Errorf("terminal %s: raw mode: %w", f.Name(), err)
	}
	return func() { term.Restore(int(f.Fd()), state) }, nil
}

// Signals delivers the signals that Run passes on, until stop is called. SIGPIPE is ignored
// meanwhile: a broken standard output becomes the program's SIGPIPE, not the monitor's.
// Call it early: a signal before the program runs ends Run instead of killing the process
// with the terminal in raw mode.
func Signals() (c <-chan os.Signal, stop func()) {
	ch := make(chan os.Signal, 16)
	signal.Ignore(syscall.SIGPIPE)
	signal.Notify(ch, syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGHUP, syscall.SIGWINCH)
	return ch, func() {
		signal.Stop(ch)
		signal.Reset(syscall.SIGPIPE)
	}
}
