package contracts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"ringo/hosted"
)

// answer is one line from a worker.
type answer struct {
	Result *Result `json:",omitempty"`
	Done   bool    `json:",omitempty"`
	Error  string  `json:",omitempty"` // with Done: why nothing can be said
}

// Serve is the worker's side of Hosted: it runs the batches that come as JSON lines, one after the other, until the input
// ends. `vmm contracts worker` is this.
func Serve(ctx context.Context, in io.Reader, out io.Writer) error {
	batches, answers := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var b Batch
		if err := batches.Decode(&b); err == io.EOF {
			return nil
		} else if err != nil {
			return fmt.Errorf("reading a batch: %w", err)
		}
		var m Machine = Linux{}
		if b.On == OnRingo {
			m = Ringo{}
		}
		var lost error
		err := m.Run(ctx, b, func(r Result) { lost = errors.Join(lost, answers.Encode(answer{Result: &r})) })
		last := answer{Done: true}
		if err != nil {
			last.Error = err.Error()
		}
		if err := errors.Join(lost, answers.Encode(last)); err != nil {
			return fmt.Errorf("writing results: %w", err)
		}
	}
}

// Hosted runs batches in the hosted machine of an architecture, each in one of its workers: processes in there that
// stay until Close, because starting one costs more than booting a guest.
type Hosted struct {
	Arch     string
	Worker   []string  // command, in files that the machine sees
	Progress io.Writer // takes lines while something takes long

	mu   sync.Mutex
	idle []*worker
	all  []*worker
}

type worker struct {
	in      *io.PipeWriter
	answers *json.Decoder
	said    *lastBytes
	cancel  context.CancelFunc
	ended   chan error
}

// Run implements Machine.
func (h *Hosted) Run(ctx context.Context, b Batch, report func(Result)) error {
	w := h.take(b)
	stop := context.AfterFunc(ctx, w.cancel)
	defer stop()
	fail := func(what string, err error) error {
		w.in.Close()
		w.cancel()
		if ended := <-w.ended; ended != nil {
			err = errors.Join(err, ended)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("%s: %w\n%s", what, err, strings.TrimSpace(w.said.String()))
	}
	line, err := json.Marshal(b)
	if err != nil {
		return err
	}
	if _, err := w.in.Write(append(line, '\n')); err != nil {
		return fail("giving work to the hosted machine", err)
	}
	for {
		var a answer
		if err := w.answers.Decode(&a); err != nil {
			return fail("a worker in the hosted machine ended", err)
		}
		switch {
		case a.Result != nil:
			report(*a.Result)
		case a.Done:
			h.mu.Lock()
			h.idle = append(h.idle, w)
			h.mu.Unlock()
			if a.Error != "" {
				return errors.New(a.Error)
			}
			return nil
		}
	}
}

// take finds an idle worker or starts one.
func (h *Hosted) take(b Batch) *worker {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := len(h.idle); n > 0 {
		w := h.idle[n-1]
		h.idle = h.idle[:n-1]
		return w
	}
	ctx, cancel := context.WithCancel(context.Background())
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	w := &worker{in: inW, answers: json.NewDecoder(outR), said: new(lastBytes), cancel: cancel, ended: make(chan error, 1)}
	command := hosted.Command{Argv: h.Worker, Env: hosted.DefaultEnv(), Stdin: inR, Stdout: outW, Stderr: w.said}
	for _, f := range []string{b.Kernel, b.Initrd} {
		if f != "" {
			command.FromMemory = append(command.FromMemory, f)
		}
	}
	go func() {
		status, err := hosted.Run(ctx, h.Arch, command, h.Progress)
		if err == nil && status != 0 {
			err = fmt.Errorf("exit status %d", status)
		}
		inR.CloseWithError(io.ErrClosedPipe)
		outW.CloseWithError(io.ErrUnexpectedEOF)
		w.ended <- err
	}()
	h.all = append(h.all, w)
	return w
}

// Close ends the workers.
func (h *Hosted) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, w := range h.all {
		w.in.Close()
	}
	for _, w := range h.idle {
		<-w.ended
		w.cancel()
	}
	h.all, h.idle = nil, nil
}

// lastBytes keeps the end of what is written to it.
type lastBytes struct {
	mu sync.Mutex
	b  []byte
}

const lastBytesKept = 16 << 10

func (l *lastBytes) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b = append(l.b, b...)
	if over := len(l.b) - lastBytesKept; over > 0 {
		l.b = append(l.b[:0], l.b[over:]...)
	}
	return len(b), nil
}

func (l *lastBytes) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.b)
}
