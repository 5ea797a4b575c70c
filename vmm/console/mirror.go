package console

import (
	"errors"
	"fmt"
	"io"
	"sync"
)

// Mirror shows what a session's program writes to others than the session's own streams, and lets them type. It is
// made before the session (Options.Mirror) and may outlive it. Safe for concurrent use.
//
// Nobody who looks can delay the guest: a viewer who does not read loses the middle of what he has not read,
// and is told how much.
type Mirror struct {
	mu      sync.Mutex
	recent  ring
	viewers map[*viewer]struct{}
	input   io.Writer // the console port while a session runs
	ended   bool
}

const (
	// recentSize is how much of the past a viewer gets at first, in bytes.
	recentSize = 16 << 10
	// viewerSize is how much may wait for a viewer, in bytes.
	viewerSize = 256 << 10
)

// ring is the last recentSize bytes.
type ring struct {
	b    []byte
	next int // where the oldest byte is, once full
}

func (r *ring) add(p []byte) {
	if len(p) > recentSize {
		p = p[len(p)-recentSize:]
	}
	if room := recentSize - len(r.b); room > 0 {
		n := min(room, len(p))
		r.b = append(r.b, p[:n]...)
		p = p[n:]
	}
	for len(p) > 0 {
		n := copy(r.b[r.next:], p)
		r.next = (r.next + n) % recentSize
		p = p[n:]
	}
}

func (r *ring) bytes() []byte {
	return append(append([]byte{}, r.b[r.next:]...), r.b[:r.next]...)
}

// viewer is one who looks.
type viewer struct {
	waiting []byte
	lost    int
	wake    chan struct{} // has room for one
	ended   bool
}

func (v *viewer) add(p []byte) {
	n := min(len(p), viewerSize-len(v.waiting))
	v.waiting = append(v.waiting, p[:n]...)
	v.lost += len(p) - n
	v.signal()
}

func (v *viewer) signal() {
	select {
	case v.wake <- struct{}{}:
	default:
	}
}

// Write shows p to all viewers. It never fails and never blocks for long.
func (m *Mirror) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.recent.add(p)
	for v := range m.viewers {
		v.add(p)
	}
	return len(p), nil
}

// start gives viewers the console port to type into.
func (m *Mirror) start(input io.Writer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.input = input
}

// end lets viewers read to the end and go.
func (m *Mirror) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.input, m.ended = nil, true
	for v := range m.viewers {
		v.ended = true
		v.signal()
	}
}

// errNoInput: there is no console to type into.
var errNoInput = errors.New("the guest's console takes no input now")

func (m *Mirror) typed(p []byte) error {
	m.mu.Lock()
	input := m.input
	m.mu.Unlock()
	if input == nil {
		return errNoInput
	}
	_, err := input.Write(p)
	return err
}

// Join shows conn what was written last and what is written from now on, and passes on what is typed there. It returns
// when conn ends, which the caller must bring about by closing it in the end, or when the session has.
func (m *Mirror) Join(conn io.ReadWriter) error {
	v := &viewer{wake: make(chan struct{}, 1)}
	m.mu.Lock()
	v.waiting, v.ended = m.recent.bytes(), m.ended
	if m.viewers == nil {
		m.viewers = map[*viewer]struct{}{}
	}
	m.viewers[v] = struct{}{}
	m.mu.Unlock()
	v.signal()
	defer func() {
		m.mu.Lock()
		delete(m.viewers, v)
		m.mu.Unlock()
	}()
	left := make(chan struct{})
	go func() {
		defer close(left)
		b := make([]byte, 4096)
		for {
			n, err := conn.Read(b)
			if n > 0 {
				// A console that takes nothing does not end the looking.
				_ = m.typed(b[:n])
			}
			if err != nil {
				return
			}
		}
	}()
	for {
		select {
		case <-left:
			return nil
		case <-v.wake:
		}
		m.mu.Lock()
		p, lost, ended := v.waiting, v.lost, v.ended
		v.waiting, v.lost = nil, 0
		m.mu.Unlock()
		if lost > 0 {
			p = fmt.Appendf(p, "\r\n[%d bytes not shown: this viewer was too slow]\r\n", lost)
		}
		if _, err := conn.Write(p); err != nil {
			return err
		}
		if ended && len(p) == 0 {
			return nil
		}
		if ended {
			v.signal()
		}
	}
}
