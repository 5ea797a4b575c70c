// Package command is the language of the command channel, port "ringo.command" of the
// console: how the monitor tells the kernel what to run and the kernel tells how it ended.
//
// A frame is a 4-byte little-endian length and that many bytes of JSON: an object with one
// member, whose name is the message's and whose value is the message. A receiver that meets
// a frame it cannot use ends the channel with an error; it never skips.
//
//	monitor                              kernel
//	                          <- Ready   once, when programs can be started
//	Start ->
//	Signal, WindowSize, StdinEnd ->      any number, any time after Start
//	                          <- Failed  instead of Exit: the program did not start
//	                          <- Missing before Exit, if some system calls were missing
//	                          <- Exit    once; all output has been handed to the ports
//	Done ->                              the host has all output; the guest powers off
//
// Standard input is the bytes of port "ringo.stdio"; its end is the StdinEnd message, which
// says how many bytes it had, because the two ports are not ordered.
package command

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Limits of a frame's JSON, in bytes.
const (
	// MaxFrame bounds every message but Start.
	MaxFrame = 64 << 10
	// MaxStart bounds Start, which carries arguments and environment.
	MaxStart = 1 << 20
)

// ErrProtocol is wrapped by every error that the other side's bytes caused.
var ErrProtocol = errors.New("command channel: protocol error")

// Message is one of the types below, by pointer.
type Message interface{ messageName() string }

// Start runs the program. Sent once.
type Start struct {
	// Path is looked up in Env's PATH when it has no slash.
	Path string
	Args []string // argv, [0] included
	Env  []string // NAME=value
	Dir  string   // working directory, "" for /
	// TTY: the program's standard streams are the terminal, port "ringo.console".
	// Otherwise they are the ports "ringo.stdio" and "ringo.stderr".
	TTY        bool
	Rows, Cols uint16 // of the terminal, 0 when unknown
}

// Signal sends a signal to the program's foreground process group. Numbers are the
// guest's (Linux's; the same on amd64 and arm64).
type Signal struct{ Number int }

// WindowSize is the terminal's new size.
type WindowSize struct{ Rows, Cols uint16 }

// StdinEnd says that standard input ends after Bytes bytes of the stdio port.
type StdinEnd struct{ Bytes uint64 }

// Done says that the monitor has all output: the guest may power off.
type Done struct{}

// Ready says that the kernel takes a Start.
type Ready struct {
	Kernel string // version line, for reports
}

// Exit says how the program ended. Exactly one of its first two counts: Signal when it is
// not 0. All of the output has been written to the ports, whose totals follow, so that the
// monitor knows when it has everything.
type Exit struct {
	Code   int
	Signal int
	// Bytes sent on the stdio, stderr and console ports since boot.
	StdoutBytes, StderrBytes, ConsoleBytes uint64
}

// Reason says why a program did not start.
type Reason string

// Reasons of Failed.
const (
	ReasonNotFound      Reason = "not-found"      // ENOENT of the program itself
	ReasonNotExecutable Reason = "not-executable" // no permission, a directory
	ReasonBadFormat     Reason = "bad-format"     // ENOEXEC: no ELF of this machine, no script
	ReasonNoInterpreter Reason = "no-interpreter" // the ELF interpreter or #! program is not there
	ReasonBadDir        Reason = "bad-directory"  // Start.Dir
	ReasonTooBig        Reason = "arguments"      // E2BIG
	ReasonKernel        Reason = "kernel"         // anything else
)

// Failed says that the program did not start.
type Failed struct {
	Reason  Reason
	Errno   int    // the guest's, 0 for none
	Message string // one line for the user
}

// Missing counts system calls that the kernel does not have, by name or "syscall NUMBER".
type Missing struct{ Calls map[string]uint64 }

func (*Start) messageName() string      { return "start" }
func (*Signal) messageName() string     { return "signal" }
func (*WindowSize) messageName() string { return "window-size" }
func (*StdinEnd) messageName() string   { return "stdin-end" }
func (*Done) messageName() string       { return "done" }
func (*Ready) messageName() string      { return "ready" }
func (*Exit) messageName() string       { return "exit" }
func (*Failed) messageName() string     { return "failed" }
func (*Missing) messageName() string    { return "missing" }

// newMessage answers an empty message of that name, or nil.
func newMessage(name string) Message {
	switch name {
	case "start":
		return new(Start)
	case "signal":
		return new(Signal)
	case "window-size":
		return new(WindowSize)
	case "stdin-end":
		return new(StdinEnd)
	case "done":
		return new(Done)
	case "ready":
		return new(Ready)
	case "exit":
		return new(Exit)
	case "failed":
		return new(Failed)
	case "missing":
		return new(Missing)
	}
	return nil
}

// Write sends one message as one Write of w. A message that is too large is an error and
// nothing is sent. Calls that may overlap need a lock around them.
func Write(w io.Writer, m Message) error {
	body, err := json.Marshal(map[string]Message{m.messageName(): m})
	if err != nil {
		return fmt.Errorf("command channel: %s: %w", m.messageName(), err)
	}
	limit := MaxFrame
	if _, ok := m.(*Start); ok {
		limit = MaxStart
	}
	if len(body) > limit {
		return fmt.Errorf("command channel: %s message of %d bytes is larger than %d", m.messageName(), len(body), limit)
	}
	frame := binary.LittleEndian.AppendUint32(make([]byte, 0, 4+len(body)), uint32(len(body)))
	if _, err := w.Write(append(frame, body...)); err != nil {
		return fmt.Errorf("command channel: sending %s: %w", m.messageName(), err)
	}
	return nil
}

// Reader reads messages, each of up to limit bytes of JSON: MaxFrame on the monitor's
// side, MaxStart on the kernel's.
type Reader struct {
	r     io.Reader
	limit uint32
	buf   []byte
	err   error
}

// NewReader reads from r.
func NewReader(r io.Reader, limit uint32) *Reader { return &Reader{r: r, limit: limit} }

// Read waits for the next message. io.EOF means that the channel ended between messages.
// Every error is final.
func (r *Reader) Read() (Message, error) {
	if r.err != nil {
		return nil, r.err
	}
	m, err := r.read()
	r.err = err
	return m, err
}

func (r *Reader) read() (Message, error) {
	var head [4]byte
	if _, err := io.ReadFull(r.r, head[:]); err != nil {
		if err == io.EOF {
			return nil, io.EOF
		}
		return nil, fmt.Errorf("%w: length of a frame: %w", ErrProtocol, err)
	}
	n := binary.LittleEndian.Uint32(head[:])
	if n > r.limit {
		return nil, fmt.Errorf("%w: frame of %d bytes, at most %d", ErrProtocol, n, r.limit)
	}
	// Grow with what really arrives: a length alone must not cost memory.
	body := bytes.NewBuffer(r.buf[:0])
	if _, err := io.CopyN(body, r.r, int64(n)); err != nil {
		return nil, fmt.Errorf("%w: frame of %d bytes ends after %d: %w", ErrProtocol, n, body.Len(), err)
	}
	r.buf = body.Bytes()
	return parse(r.buf)
}

func parse(body []byte) (Message, error) {
	var frame map[string]json.RawMessage
	if err := json.Unmarshal(body, &frame); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	if len(frame) != 1 {
		return nil, fmt.Errorf("%w: frame with %d messages, want 1", ErrProtocol, len(frame))
	}
	for name, raw := range frame {
		m := newMessage(name)
		if m == nil {
			return nil, fmt.Errorf("%w: unknown message %.40q (monitor and kernel are of different builds)", ErrProtocol, name)
		}
		if err := json.Unmarshal(raw, m); err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrProtocol, name, err)
		}
		if bytes.Equal(bytes.TrimSpace(raw), []byte("null")) {
			return nil, fmt.Errorf("%w: %s is null", ErrProtocol, name)
		}
		return m, nil
	}
	panic("unreachable")
}
