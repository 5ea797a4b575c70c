package wire

import (
	"errors"
	"fmt"
	"io"
	"sync"
)

// ErrClosed is returned by a stream whose connection or receiver is gone.
var ErrClosed = errors.New("stream closed")

// Sender sends one data stream, within its credit. Write is used by one goroutine, Grant and Close by any.
type Sender struct {
	kind   Kind
	w      *Writer
	mu     sync.Mutex
	wake   *sync.Cond
	credit int
	closed bool
}

// NewSender returns a sender of stream kind with a full window.
func NewSender(w *Writer, kind Kind) *Sender {
	s := &Sender{kind: kind, w: w, credit: Window}
	s.wake = sync.NewCond(&s.mu)
	return s
}

// Grant adds credit for n consumed bytes. An answer for bytes that were never sent is a protocol violation.
func (s *Sender) Grant(n int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n < 0 || n > Window-s.credit {
		return fmt.Errorf("%w: credit of %d bytes for %v, %d under way", ErrProtocol, n, s.kind, Window-s.credit)
	}
	s.credit += n
	s.wake.Broadcast()
	return nil
}

// Close makes every present and future Write fail with ErrClosed.
func (s *Sender) Close() {
	s.mu.Lock()
	s.closed = true
	s.wake.Broadcast()
	s.mu.Unlock()
}

// Write sends p, waiting for credit as needed.
func (s *Sender) Write(p []byte) (int, error) {
	sent := 0
	for len(p) > 0 {
		n, err := s.reserve(len(p))
		if err != nil {
			return sent, err
		}
		if err := s.w.Write(s.kind, p[:n]); err != nil {
			return sent, err
		}
		sent, p = sent+n, p[n:]
	}
	return sent, nil
}

func (s *Sender) reserve(n int) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.credit == 0 && !s.closed {
		s.wake.Wait()
	}
	if s.closed {
		return 0, ErrClosed
	}
	n = min(n, s.credit, MaxData)
	s.credit -= n
	return n, nil
}

// Receiver holds the received bytes of one data stream, at most Window, until its reader takes them. Put, End and Fail
// are called by the goroutine that reads frames and never block; Copy is called by the one that consumes.
type Receiver struct {
	kind Kind
	w    *Writer
	mu   sync.Mutex
	wake *sync.Cond
	data []byte
	end  error // io.EOF after End, another error after Fail
	drop bool
}

// NewReceiver returns an empty receiver of stream kind; w carries the credit back.
func NewReceiver(w *Writer, kind Kind) *Receiver {
	r := &Receiver{kind: kind, w: w}
	r.wake = sync.NewCond(&r.mu)
	return r
}

// Put adds received bytes.
func (r *Receiver) Put(p []byte) error {
	r.mu.Lock()
	if r.end != nil || len(p) > Window-len(r.data) {
		held := len(r.data)
		r.mu.Unlock()
		return fmt.Errorf("%w: %d bytes of %v beyond the window (%d held) or the end", ErrProtocol, len(p), r.kind, held)
	}
	if r.drop {
		r.mu.Unlock()
		return r.w.Credit(r.kind, len(p))
	}
	r.data = append(r.data, p...)
	r.wake.Broadcast()
	r.mu.Unlock()
	return nil
}

// End marks the end of the stream. What was received before can still be read.
func (r *Receiver) End() { r.Fail(io.EOF) }

// Fail ends the stream with err.
func (r *Receiver) Fail(err error) {
	r.mu.Lock()
	if r.end == nil {
		r.end = err
	}
	r.wake.Broadcast()
	r.mu.Unlock()
}

// Copy writes the stream to dst until its end, which it reports as nil. After an error of dst the rest of the stream is dropped, so
// that the sender is not held up, and the error is returned at once.
func (r *Receiver) Copy(dst io.Writer) error {
	var chunk []byte
	for {
		r.mu.Lock()
		for len(r.data) == 0 && r.end == nil {
			r.wake.Wait()
		}
		if len(r.data) == 0 {
			err := r.end
			r.mu.Unlock()
			if err == io.EOF {
				return nil
			}
			return err
		}
		chunk, r.data = r.data, chunk[:0]
		r.mu.Unlock()
		_, err := dst.Write(chunk)
		if creditErr := r.w.Credit(r.kind, len(chunk)); err == nil && creditErr != nil {
			return creditErr
		}
		if err != nil {
			r.discard()
			return err
		}
	}
}

func (r *Receiver) discard() {
	r.mu.Lock()
	n := len(r.data)
	r.data, r.drop = nil, true
	r.mu.Unlock()
	if n > 0 {
		// The connection's own reader reports a broken connection.
		_ = r.w.Credit(r.kind, n)
	}
}
