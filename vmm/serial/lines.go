package serial

import (
	"io"
	"sync"
	"time"
)

// Lines collects printed bytes and hands them on by the line, so that a character costs no
// system call. A line without an end follows after a moment, or at Flush.
type Lines struct {
	mu   sync.Mutex
	w    io.Writer
	buf  []byte
	wait *pendingFlush
}

// maxLine is where a line without an end is cut.
const maxLine = 512

// NewLines writes to w.
func NewLines(w io.Writer) *Lines { return &Lines{w: w, buf: make([]byte, 0, maxLine)} }

// Print takes a piece of text.
func (l *Lines) Print(text []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range text {
		l.putLocked(b)
	}
}

func (l *Lines) put(b byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.putLocked(b)
}

func (l *Lines) putLocked(b byte) {
	l.buf = append(l.buf, b)
	switch {
	case b == '\n' || len(l.buf) == maxLine:
		l.flushLocked()
	case l.wait == nil:
		l.wait = flushLater(l)
	}
}

// Flush hands on what is there.
func (l *Lines) Flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flushLocked()
}

func (l *Lines) flushLocked() {
	if l.wait != nil {
		l.wait.stop()
		l.wait = nil
	}
	if len(l.buf) > 0 {
		_, _ = l.w.Write(l.buf) // a lost early print must not stop the guest
		l.buf = l.buf[:0]
	}
}

// partialLine is how long a line without an end is kept back.
const partialLine = 50 * time.Millisecond

type pendingFlush struct{ t *time.Timer }

func flushLater(l *Lines) *pendingFlush {
	return &pendingFlush{time.AfterFunc(partialLine, l.Flush)}
}

func (p *pendingFlush) stop() { p.t.Stop() }
