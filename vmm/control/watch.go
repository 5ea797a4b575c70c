package control

import (
	"fmt"
	"io"
	"net/http"
	"sync"
)

// waitingText is how much text of hits may wait for a client, in bytes: a hit is told while the guest stands still, so
// nobody waits for the client.
const waitingText = 1 << 20

// textQueue takes text from vCPU threads for one client.
type textQueue struct {
	mu      sync.Mutex
	waiting []byte
	lost    int
	wake    chan struct{} // has room for one
}

// Write never blocks and never fails; what finds no room is counted.
func (q *textQueue) Write(p []byte) (int, error) {
	q.mu.Lock()
	if len(q.waiting)+len(p) > waitingText {
		q.lost++
	} else {
		q.waiting = append(q.waiting, p...)
	}
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return len(p), nil
}

func (q *textQueue) take() (p []byte, lost int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	p, lost = q.waiting, q.lost
	q.waiting, q.lost = nil, 0
	return p, lost
}

// watch answers text, a hit after the other, until the client leaves or the guest ends; then the watch is gone.
func (s *Server) watch(g Guest, r *http.Request, w io.Writer) error {
	spec := r.FormValue("spec")
	if spec == "" {
		return fmt.Errorf("%w: no spec", ErrRequest)
	}
	q := &textQueue{wake: make(chan struct{}, 1)}
	engine, remove, err := g.Watch(spec, q)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRequest, err)
	}
	defer func() { _ = remove() }() // of a guest that is ending
	flush := func() {
		if f, ok := w.(http.Flusher); ok {
			f.Flush()
		}
	}
	if _, err := fmt.Fprintf(w, "watching %s [%s]\n", spec, engine); err != nil {
		return err
	}
	flush()
	for {
		select {
		case <-r.Context().Done():
			return nil
		case <-s.done:
			return nil
		case <-q.wake:
		}
		p, lost := q.take()
		if lost > 0 {
			p = fmt.Appendf(p, "[%d hits not shown: this client was too slow]\n", lost)
		}
		if _, err := w.Write(p); err != nil {
			return err
		}
		flush()
	}
}

// guardRequest is the body of POST /v1/guard.
type guardRequest struct {
	Mode string `json:"mode"`
}
