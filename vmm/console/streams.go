package console

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"

	"ringo/internal/command"
)

// pump counts what has gone from a port to its stream.
type pump struct {
	shown *Mirror // nil: nobody looks
	moved uint64  // bytes written; guarded by session.mu
	ended bool    // no more will come; guarded by session.mu
}

// startOutput joins the ports to the output streams.
func (s *session) startOutput() {
	join := func(p *pump, port io.Reader, w io.Writer, broken func()) {
		s.outputs.Go(func() { s.copyOut(p, port, w, broken) })
	}
	pipeBroken := func() { s.send(&command.Signal{Number: int(syscall.SIGPIPE)}) }
	nobody := func() {}
	log := &lockedWriter{w: s.stoppableWriter(s.o.Log)}
	var terminal io.Writer = log
	if s.o.Terminal != nil {
		terminal = s.stoppableWriter(s.o.Terminal)
	}
	if s.o.Mirror != nil {
		s.stdout.shown, s.stderr.shown, s.console.shown = s.o.Mirror, s.o.Mirror, s.o.Mirror
		s.o.Mirror.start(s.o.Ports.Console)
	}
	join(&s.stdout, s.o.Ports.Stdio, s.stoppableWriter(s.o.Stdout), pipeBroken)
	join(&s.stderr, s.o.Ports.Stderr, s.stoppableWriter(s.o.Stderr), pipeBroken)
	join(&s.console, s.o.Ports.Console, terminal, nobody)
	join(new(pump), s.o.Ports.Log, log, nobody)
}

// lockedWriter lets two ports share the log.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer // nil: nobody
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.w == nil {
		return len(p), nil
	}
	return l.w.Write(p)
}

// copyOut copies until the port ends. When the stream breaks it says so once and drops the
// rest, so that the guest does not wait for a reader who is gone.
func (s *session) copyOut(p *pump, port io.Reader, w io.Writer, broken func()) {
	buf := make([]byte, 32<<10)
	for {
		n, err := port.Read(buf)
		if n > 0 && p.shown != nil {
			_, _ = p.shown.Write(buf[:n])
		}
		if n > 0 && w != nil {
			if _, werr := w.Write(buf[:n]); werr != nil {
				w = nil
				if !errors.Is(werr, errStopped) {
					broken()
				}
			}
		}
		s.mu.Lock()
		p.moved += uint64(n)
		p.ended = err != nil
		s.mu.Unlock()
		s.progress.Broadcast()
		if err != nil {
			return
		}
	}
}

// drain waits until all output that the kernel announced has been written.
func (s *session) drain(exit *command.Exit) error {
	if exit == nil {
		return nil
	}
	wants := []struct {
		name string
		p    *pump
		n    uint64
	}{
		{"standard output", &s.stdout, exit.StdoutBytes},
		{"standard error", &s.stderr, exit.StderrBytes},
		{"the console", &s.console, exit.ConsoleBytes},
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range wants {
		for w.p.moved < w.n {
			if s.ended || w.p.ended {
				return fmt.Errorf("%w: %d of %d bytes of %s arrived", ErrEnded, w.p.moved, w.n, w.name)
			}
			s.progress.Wait()
		}
	}
	return nil
}

// startInput joins the input stream to its port.
func (s *session) startInput() {
	if s.o.Terminal != nil {
		in := s.stoppableReader(s.o.Terminal)
		s.inputs.Go(func() { s.copyIn(s.o.Ports.Console, in) })
		return
	}
	s.inputs.Go(func() {
		var n uint64
		if s.o.Stdin != nil {
			var ok bool
			if n, ok = s.copyIn(s.o.Ports.Stdio, s.stoppableReader(s.o.Stdin)); !ok {
				return
			}
		}
		s.sendAndWait(context.Background(), &command.StdinEnd{Bytes: n})
	})
}

// copyIn copies until the stream ends (an error is an end too, as it is for a shell) and
// answers how much; ok is false when the session or the port ended first.
func (s *session) copyIn(port io.Writer, r io.Reader) (sent uint64, ok bool) {
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			if _, err := port.Write(buf[:n]); err != nil {
				return sent, false
			}
			sent += uint64(n)
		}
		if errors.Is(err, errStopped) {
			return sent, false
		}
		if err != nil {
			return sent, true
		}
	}
}

// errStopped ends reads and writes of host files when the session ends.
var errStopped = errors.New("session ended")

// stoppableWriter is w such that a Write ends when the session does, and nil for nobody.
// Only files can block for ever; other writers are the caller's own.
func (s *session) stoppableWriter(w io.Writer) io.Writer {
	f, ok := w.(*os.File)
	switch {
	case !ok:
		return w
	case f == nil:
		return nil
	}
	return &stoppableFile{f: f, stop: s.noOutput}
}

func (s *session) stoppableReader(r io.Reader) io.Reader {
	if f, ok := r.(*os.File); ok {
		return &stoppableFile{f: f, stop: s.noInput}
	}
	return r
}
