// Package console is the monitor's end of a program's life in the guest: it waits for the
// kernel, tells it what to run, joins the console device's ports to the caller's standard
// streams byte for byte, passes signals and window sizes on, and collects the result.
//
// It knows ports, streams and the command channel, and nothing of machines: whoever owns
// the machine closes the ports when it stops, and Run ends.
package console

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"ringo/internal/command"
)

// Ports are the host's ends of the console device's ports. Closing one must end a blocked
// Read (after what has arrived) and a blocked Write.
type Ports struct {
	Console, Command, Stdio, Stderr, Log io.ReadWriteCloser
}

func (p Ports) close() {
	for _, c := range []io.Closer{p.Console, p.Command, p.Stdio, p.Stderr, p.Log} {
		c.Close()
	}
}

// Options say what to run and what to join it to.
type Options struct {
	Ports Ports
	// Start is what to run. Run sets TTY, Rows and Cols.
	Start command.Start

	// Terminal, when not nil, is the user's terminal: the program gets one of its own,
	// joined to it in raw mode, and Stdin, Stdout and Stderr are not used.
	Terminal *os.File

	Stdin          io.Reader // nil: empty
	Stdout, Stderr io.Writer // nil: dropped
	// Log takes kernel messages and, without Terminal, what is written to /dev/console.
	// nil: dropped.
	Log io.Writer

	// Signals are passed on to the program; see Signals. nil: none.
	Signals <-chan os.Signal

	// Mirror shows the program's output to others. nil: nobody.
	Mirror *Mirror
}

// Result is how the program ended.
type Result struct {
	// Code is the exit status, or Signal, when not 0, the signal that killed it.
	Code, Signal int
	// Failed is not nil when the program did not start; then neither of the above counts.
	Failed *command.Failed
	// Missing counts the system calls that the kernel does not have.
	Missing map[string]uint64
	// Kernel is the kernel's version line.
	Kernel string
}

// Errors of Run.
var (
	// ErrEnded: the machine stopped before the program's end was known.
	ErrEnded = errors.New("the machine stopped before the program ended")
	// ErrInterrupted: a signal came before the program had started, or the program
	// ignored several in a row.
	ErrInterrupted = errors.New("interrupted")
)

// InterruptedError says by which signal. It wraps ErrInterrupted.
type InterruptedError struct{ Signal syscall.Signal }

func (e *InterruptedError) Error() string { return "interrupted by " + e.Signal.String() }

// Unwrap is ErrInterrupted.
func (e *InterruptedError) Unwrap() error { return ErrInterrupted }

// session is one Run.
type session struct {
	o      Options
	outbox chan outgoing
	// noInput ends what reads from the host and talks to the kernel; noOutput, a little
	// later, what still writes to the host.
	noInput, noOutput *stopper
	inputs, outputs   sync.WaitGroup

	mu       sync.Mutex
	progress sync.Cond // a pump has moved or ended
	ended    bool      // nobody waits for progress any more

	stdout, stderr, console pump
}

// flushTime is how long output that has arrived may take to be written when a session does
// not end by itself.
const flushTime = time.Second

// Run runs one program. It returns when all output has been written and its end is known,
// when ctx ends, when the machine stops, or when the guest breaks the protocol. It closes
// the ports and ends everything it started; the terminal is always restored.
func Run(ctx context.Context, o Options) (_ Result, err error) {
	s := &session{o: o, outbox: make(chan outgoing, 64)}
	s.progress.L = &s.mu
	if s.noInput, err = newStopper(); err != nil {
		o.Ports.close()
		return Result{}, err
	}
	if s.noOutput, err = newStopper(); err != nil {
		s.noInput.stop()
		s.noInput.close()
		o.Ports.close()
		return Result{}, err
	}
	s.o.Start.TTY, s.o.Start.Rows, s.o.Start.Cols = false, 0, 0
	if o.Terminal != nil {
		s.o.Start.TTY = true
		s.o.Start.Rows, s.o.Start.Cols = windowSize(o.Terminal)
	}
	restore := func() {}
	defer func() {
		s.finish()
		restore()
	}()

	s.startOutput()
	messages := make(chan received)
	s.inputs.Go(func() { s.receive(messages) })
	s.inputs.Go(s.deliver)

	var r Result
	phase := phaseBoot
	var impatience impatience
	var drained chan error
	for {
		select {
		case <-ctx.Done():
			return r, context.Cause(ctx)

		case sig := <-o.Signals:
			number, ok := sig.(syscall.Signal)
			switch {
			case !ok:
			case number == syscall.SIGWINCH:
				if phase == phaseRunning && o.Terminal != nil {
					rows, cols := windowSize(o.Terminal)
					s.send(&command.WindowSize{Rows: rows, Cols: cols})
				}
			case phase == phaseBoot || impatience.tooMuch(number, time.Now()):
				return r, &InterruptedError{number}
			case phase == phaseRunning:
				s.send(&command.Signal{Number: int(number)})
			}

		case err := <-drained:
			if err != nil {
				return r, err
			}
			// When this does not arrive, the machine is gone already or its owner will
			// end it: the result is known all the same.
			s.sendAndWait(ctx, &command.Done{})
			return r, nil

		case m := <-messages:
			if m.err != nil {
				if phase == phaseDraining && errors.Is(m.err, io.EOF) {
					messages = nil // the output is on its way all the same
					continue
				}
				if errors.Is(m.err, io.EOF) {
					return r, ErrEnded
				}
				return r, m.err
			}
			next, err := s.handle(m.message, phase, &r)
			if err != nil {
				return r, err
			}
			if next == phaseRunning && phase == phaseBoot {
				// The terminal is raw before the program can ask for input.
				if o.Terminal != nil {
					if restore, err = makeRaw(o.Terminal); err != nil {
						return r, err
					}
				}
				s.send(&s.o.Start)
				s.startInput()
			}
			if next == phaseDraining && phase != phaseDraining {
				drained = make(chan error, 1)
				exit, _ := m.message.(*command.Exit) // nil for Failed: nothing was written
				s.inputs.Go(func() { drained <- s.drain(exit) })
			}
			phase = next
		}
	}
}

// phase is how far the program has come.
type phase int

const (
	phaseBoot     phase = iota // no Ready yet
	phaseRunning               // Start was sent
	phaseDraining              // Exit or Failed came
)

type received struct {
	message command.Message
	err     error
}

// receive hands the kernel's messages to Run until the channel ends.
func (s *session) receive(to chan<- received) {
	reader := command.NewReader(s.o.Ports.Command, command.MaxFrame)
	for {
		m, err := reader.Read()
		select {
		case to <- received{m, err}:
		case <-s.noInput.c:
			return
		}
		if err != nil {
			return
		}
	}
}

func (s *session) handle(m command.Message, now phase, r *Result) (phase, error) {
	unexpected := func() (phase, error) {
		return now, fmt.Errorf("%w: unexpected %T from the kernel", command.ErrProtocol, m)
	}
	switch m := m.(type) {
	case *command.Ready:
		if now != phaseBoot {
			return unexpected()
		}
		r.Kernel = m.Kernel
		return phaseRunning, nil
	case *command.Missing:
		r.Missing = m.Calls
		return now, nil
	case *command.Failed:
		if now != phaseRunning {
			return unexpected()
		}
		r.Failed = m
		return phaseDraining, nil
	case *command.Exit:
		if now != phaseRunning {
			return unexpected()
		}
		if m.Signal < 0 || m.Signal > 64 || m.Code < 0 || m.Code > 255 {
			return now, fmt.Errorf("%w: exit status %d, signal %d", command.ErrProtocol, m.Code, m.Signal)
		}
		r.Code, r.Signal = m.Code, m.Signal
		return phaseDraining, nil
	default:
		return unexpected()
	}
}

// outgoing is a message on its way to the kernel; done, if not nil, is closed when it has
// been written.
type outgoing struct {
	message command.Message
	done    chan struct{}
}

// deliver writes messages to the kernel, which may take its time to read them.
func (s *session) deliver() {
	for {
		select {
		case o := <-s.outbox:
			if command.Write(s.o.Ports.Command, o.message) != nil {
				return // the ports are closed: receive notices too
			}
			if o.done != nil {
				close(o.done)
			}
		case <-s.noInput.c:
			return
		}
	}
}

// send queues a message and never blocks. A kernel that has left 64 messages unread gets no
// more signals; the user's third in a row ends the session.
func (s *session) send(m command.Message) {
	select {
	case s.outbox <- outgoing{message: m}:
	default:
	}
}

// sendAndWait returns when the message has been written, or cannot be.
func (s *session) sendAndWait(ctx context.Context, m command.Message) {
	o := outgoing{m, make(chan struct{})}
	select {
	case s.outbox <- o:
	case <-s.noInput.c:
		return
	case <-ctx.Done():
		return
	}
	timer := time.NewTimer(flushTime)
	defer timer.Stop()
	select {
	case <-o.done:
	case <-s.noInput.c:
	case <-ctx.Done():
	case <-timer.C:
	}
}

// finish ends all goroutines: first what feeds the guest, then, when what has arrived is
// written or flushTime has passed, what serves the host's streams.
func (s *session) finish() {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.progress.Broadcast()
	s.noInput.stop()
	s.o.Ports.close()
	s.inputs.Wait()
	timer := time.AfterFunc(flushTime, s.noOutput.stop)
	s.outputs.Wait()
	timer.Stop()
	if s.o.Mirror != nil {
		s.o.Mirror.end()
	}
	s.noOutput.stop()
	s.noInput.close()
	s.noOutput.close()
}

// impatience recognises a user who has had enough of a program that does not end.
type impatience struct {
	count int
	first time.Time
}

// Three interrupts within this time mean: end it whatever the program thinks.
const impatienceWindow = 2 * time.Second

func (i *impatience) tooMuch(sig syscall.Signal, now time.Time) bool {
	if sig != syscall.SIGINT && sig != syscall.SIGTERM {
		return false
	}
	if i.count == 0 || now.Sub(i.first) > impatienceWindow {
		i.count, i.first = 0, now
	}
	i.count++
	return i.count >= 3
}
