// Package wire is the language spoken over one command's connection: from a client, through the supervisor (which only
// copies bytes), to the agent inside the hosted machine. A connection carries exactly one command.
//
// A frame is a 4-byte big-endian header, kind in the top 8 bits and payload length in the low 24, then the payload.
// The client speaks first with one Start frame. Each of the three data streams is flow-controlled on its own by credit:
// a sender may have at most Window bytes of a stream under way, so that a program which does not read its standard input
// never delays a signal, and a reader who ignores standard error never delays standard output.
package wire

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

// Window is the number of bytes of one data stream that may be sent without having been consumed.
const Window = 256 << 10

// MaxData is the largest payload of a data frame, in bytes. Senders divide what is longer.
const MaxData = 64 << 10

// maxControl bounds every other payload, in bytes: a Start frame carries a command's arguments and environment.
const maxControl = 4 << 20

// Kind says what a frame is.
type Kind uint8

// The frames of a command, with their directions.
const (
	KindStart  Kind = iota + 1 // client to agent: JSON Start
	KindStdin                  // client to agent: data
	KindStdout                 // agent to client: data
	KindStderr                 // agent to client: data
	KindEOF                    // either: 1 byte, the stream kind that has ended
	KindCredit                 // either: 1 byte stream kind, 4 bytes count: that many bytes of it were consumed
	KindSignal                 // client to agent: 1 byte, Linux signal number
	KindResize                 // client to agent: 2 bytes rows, 2 bytes columns
	KindExit                   // agent to client: JSON Exit, the last frame of a command
)

func (k Kind) String() string {
	names := [...]string{"", "start", "stdin", "stdout", "stderr", "eof", "credit", "signal", "resize", "exit"}
	if int(k) < len(names) && k != 0 {
		return names[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Start describes the command to run.
type Start struct {
	Argv     []string // Argv[0] is a path inside the machine, or a name looked up in PATH
	Env      []string // the whole environment
	Dir      string   // working folder
	Terminal bool     // standard streams are one pseudo-terminal; output arrives on the stdout stream
	Rows     uint16   // terminal size in cells
	Columns  uint16
	NoStdin  bool     // standard input is /dev/null
	Shares   []Share  // folders and files of the outside that the command sees
	Memory   []string // files to keep in the machine's memory
}

// ExecTime is a variable that a command may have with an empty value in its environment: the agent fills in when it executes the command,
// nanoseconds of CLOCK_MONOTONIC. A process cannot find that out by itself, and what it is charged for includes the agent's
// preparations in the same process.
const ExecTime = "RINGO_EXEC_TIME"

// Share is a folder or file of the outside that a command sees.
type Share struct {
	Path   string // where it appears inside: absolute and clean
	Source string // which it is outside: absolute and without symbolic links
	Write  bool
	Folder bool
}

// Exit is how a command ended. Exactly one of Error and a status is meaningful: Error says that it never ran.
type Exit struct {
	Status int    // exit status, or 128 + signal
	Signal int    // the signal it died of, or 0
	Error  string // why it could not be started
	Kind   string // one of the Start error kinds below, when Error is set
}

// Kinds of start failures, so that a client can answer like a shell does (127, 126).
const (
	StartNotFound      = "not-found"
	StartNotExecutable = "not-executable"
	StartFailed        = "failed"
)

// Frame is one received frame. Payload is valid until the next Read.
type Frame struct {
	Kind    Kind
	Payload []byte
}

// ErrProtocol is wrapped by every error that means the other side broke the rules of this package.
var ErrProtocol = errors.New("hosted wire protocol violation")

// Reader reads frames. It is used by one goroutine.
type Reader struct {
	r   io.Reader
	buf []byte
}

// NewReader returns a Reader of the frames in r.
func NewReader(r io.Reader) *Reader { return &Reader{r: r} }

// Read returns the next frame. It returns io.EOF only between frames.
func (r *Reader) Read() (Frame, error) {
	var header [4]byte
	if _, err := io.ReadFull(r.r, header[:]); err != nil {
		return Frame{}, err
	}
	h := binary.BigEndian.Uint32(header[:])
	kind, n := Kind(h>>24), int(h&0xffffff)
	limit := maxControl
	switch kind {
	case KindStdin, KindStdout, KindStderr:
		limit = MaxData
	}
	if n > limit {
		return Frame{}, fmt.Errorf("%w: %v frame of %d bytes, at most %d", ErrProtocol, kind, n, limit)
	}
	if cap(r.buf) < n {
		r.buf = make([]byte, n)
	}
	payload := r.buf[:n]
	if _, err := io.ReadFull(r.r, payload); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return Frame{}, err
	}
	return Frame{Kind: kind, Payload: payload}, nil
}

// Writer writes frames. All methods may be called from any goroutine; a frame is never interleaved with another.
type Writer struct {
	mu  sync.Mutex
	w   io.Writer
	buf []byte
}

// NewWriter returns a Writer to w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Write sends one frame.
func (w *Writer) Write(kind Kind, payload []byte) error {
	if len(payload) > 0xffffff {
		return fmt.Errorf("%w: %v frame of %d bytes cannot be sent", ErrProtocol, kind, len(payload))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.buf = binary.BigEndian.AppendUint32(w.buf[:0], uint32(kind)<<24|uint32(len(payload)))
	w.buf = append(w.buf, payload...)
	_, err := w.w.Write(w.buf)
	return err
}

// WriteJSON sends v as the payload of a control frame.
func (w *Writer) WriteJSON(kind Kind, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(b) > maxControl {
		return fmt.Errorf("%v frame of %d bytes: arguments and environment may have at most %d", kind, len(b), maxControl)
	}
	return w.Write(kind, b)
}

// EOF says that stream has ended.
func (w *Writer) EOF(stream Kind) error { return w.Write(KindEOF, []byte{byte(stream)}) }

// Credit says that n bytes of stream were consumed.
func (w *Writer) Credit(stream Kind, n int) error {
	return w.Write(KindCredit, binary.BigEndian.AppendUint32([]byte{byte(stream)}, uint32(n)))
}

// Signal forwards a Linux signal number.
func (w *Writer) Signal(number int) error { return w.Write(KindSignal, []byte{byte(number)}) }

// Resize sends a new terminal size in cells.
func (w *Writer) Resize(rows, columns uint16) error {
	return w.Write(KindResize, binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, rows), columns))
}

// ParseEOF decodes a KindEOF payload.
func ParseEOF(payload []byte) (Kind, error) {
	if len(payload) != 1 {
		return 0, fmt.Errorf("%w: eof frame of %d bytes", ErrProtocol, len(payload))
	}
	return Kind(payload[0]), nil
}

// ParseCredit decodes a KindCredit payload.
func ParseCredit(payload []byte) (Kind, int, error) {
	if len(payload) != 5 {
		return 0, 0, fmt.Errorf("%w: credit frame of %d bytes", ErrProtocol, len(payload))
	}
	return Kind(payload[0]), int(binary.BigEndian.Uint32(payload[1:])), nil
}

// ParseSignal decodes a KindSignal payload.
func ParseSignal(payload []byte) (int, error) {
	if len(payload) != 1 || payload[0] == 0 || payload[0] > 64 {
		return 0, fmt.Errorf("%w: signal frame % x", ErrProtocol, payload)
	}
	return int(payload[0]), nil
}

// ParseResize decodes a KindResize payload.
func ParseResize(payload []byte) (rows, columns uint16, err error) {
	if len(payload) != 4 {
		return 0, 0, fmt.Errorf("%w: resize frame of %d bytes", ErrProtocol, len(payload))
	}
	return binary.BigEndian.Uint16(payload), binary.BigEndian.Uint16(payload[2:]), nil
}
