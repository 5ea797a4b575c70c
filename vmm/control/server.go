package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// Guest is what a running guest lets others do. Methods are called from any goroutine, several
// at a time. Errors that wrap ErrUnsupported, ErrRequest or ErrState reach the caller as those.
type Guest interface {
	Info() Info
	// Pause returns when no vCPU runs any more; Resume when all may. Neither minds being repeated.
	Pause() error
	Resume() error
	// Stop ends the guest as a crash would, at once.
	Stop() error
	// Backtrace pauses the guest for as long as it takes.
	Backtrace() (Backtrace, error)
	Tasks() ([]Task, error)
	// Core writes an ELF core file. It pauses the guest meanwhile.
	Core(w io.Writer) error
	// Top counts what KVM does for the guest, and tells every interval until ctx ends.
	Top(ctx context.Context, interval time.Duration, tell func(*Top) error) error
	// Profile samples where the vCPUs are, or one of them (-1: all), for that long or until ctx ends.
	Profile(ctx context.Context, vcpu int, duration time.Duration) (*Profile, error)
	// Watch tells of accesses to what spec says until remove; out must not wait.
	Watch(spec string, out io.Writer) (engine string, remove func() error, err error)
	// SetGuard changes what the stack guard does.
	SetGuard(mode string) error
	// Console joins the connection to the guest's console until either ends.
	Console(conn io.ReadWriter) error
	// Debug serves the GDB remote protocol on the connection until either ends.
	Debug(conn net.Conn) error
}

// Protocol is the name in the Upgrade header of requests that become a byte stream.
const Protocol = "ringo"

// maxBody bounds a request's JSON, in bytes.
const maxBody = 64 << 10

var errorStatuses = map[error]int{
	ErrUnsupported: http.StatusNotImplemented,
	ErrRequest:     http.StatusBadRequest,
	ErrState:       http.StatusConflict,
}

var statusErrors = map[int]error{
	http.StatusNotImplemented: ErrUnsupported,
	http.StatusBadRequest:     ErrRequest,
	http.StatusConflict:       ErrState,
}

// Server answers requests about one guest.
type Server struct {
	mux  *http.ServeMux
	http *http.Server

	mu      sync.Mutex
	streams map[net.Conn]struct{} // connections that became byte streams
	closed  bool
	done    chan struct{}  // closed by Close
	running sync.WaitGroup // their handlers
}

// NewServer is a server with the requests of Guest. Others may be added before Serve.
func NewServer(g Guest) *Server {
	s := &Server{mux: http.NewServeMux(), streams: map[net.Conn]struct{}{}, done: make(chan struct{})}
	s.http = &http.Server{
		Handler: s.mux, ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10,
		ErrorLog: log.New(os.Stderr, "vmm: control socket: ", 0),
	}
	none := func(err error) (any, error) { return struct{}{}, err }
	s.Handle("GET /v1/info", func(*http.Request) (any, error) { return g.Info(), nil })
	s.Handle("POST /v1/pause", func(*http.Request) (any, error) { return none(g.Pause()) })
	s.Handle("POST /v1/resume", func(*http.Request) (any, error) { return none(g.Resume()) })
	s.Handle("POST /v1/stop", func(*http.Request) (any, error) { return none(g.Stop()) })
	s.Handle("GET /v1/backtrace", func(*http.Request) (any, error) { return g.Backtrace() })
	s.Handle("GET /v1/tasks", func(*http.Request) (any, error) { return g.Tasks() })
	s.HandleStream("GET /v1/core", "application/octet-stream", func(_ *http.Request, w io.Writer) error { return g.Core(w) })
	s.HandleStream("GET /v1/top", "application/x-ndjson", func(r *http.Request, w io.Writer) error { return top(g, r, w) })
	s.Handle("GET /v1/profile", func(r *http.Request) (any, error) { return profile(g, r) })
	s.HandleStream("GET /v1/watch", "text/plain; charset=utf-8", func(r *http.Request, w io.Writer) error { return s.watch(g, r, w) })
	s.Handle("POST /v1/guard", func(r *http.Request) (any, error) {
		var q guardRequest
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrRequest, err)
		}
		return none(g.SetGuard(q.Mode))
	})
	s.HandleUpgrade("POST /v1/console", func(c net.Conn) error { return g.Console(c) })
	s.HandleUpgrade("POST /v1/gdb", g.Debug)
	return s
}

// Handle adds a request that is answered with JSON. The pattern is that of http.ServeMux.
func (s *Server) Handle(pattern string, f func(r *http.Request) (any, error)) {
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		answer, err := f(r)
		if err != nil {
			writeError(w, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		// A client that has gone is not told.
		_ = json.NewEncoder(w).Encode(answer)
	})
}

// HandleStream adds a request that is answered with bytes as they come. An error before the
// first byte is answered as such; later it cuts the connection.
func (s *Server) HandleStream(pattern, contentType string, f func(r *http.Request, w io.Writer) error) {
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		out := &streamWriter{w: w, contentType: contentType}
		err := f(r, out)
		switch {
		case err != nil && !out.began:
			writeError(w, err)
		case err != nil:
			panic(http.ErrAbortHandler)
		}
	})
}

// Bounds of the interval of /v1/top.
const (
	minTop = 10 * time.Millisecond
	maxTop = time.Hour
)

// top answers JSON lines, one an interval.
func top(g Guest, r *http.Request, w io.Writer) error {
	interval := time.Second
	if text := r.FormValue("interval"); text != "" {
		var err error
		if interval, err = time.ParseDuration(text); err != nil || interval < minTop || interval > maxTop {
			return fmt.Errorf("%w: interval=%q: want a time from %v to %v", ErrRequest, text, minTop, maxTop)
		}
	}
	return g.Top(r.Context(), interval, func(t *Top) error {
		if err := json.NewEncoder(w).Encode(t); err != nil {
			return err
		}
		if f, ok := w.(http.Flusher); ok {
			f.Flush()
		}
		return nil
	})
}

// streamWriter begins the answer at its first byte, and hands every write to the client.
type streamWriter struct {
	w           http.ResponseWriter
	contentType string
	began       bool
}

func (s *streamWriter) Write(p []byte) (int, error) {
	if !s.began {
		s.began = true
		s.w.Header().Set("Content-Type", s.contentType)
	}
	return s.w.Write(p)
}

// Flush hands what was written to the client.
func (s *streamWriter) Flush() { _ = http.NewResponseController(s.w).Flush() }

// HandleUpgrade adds a request that becomes a byte stream (RFC 9110, 7.8). f's error reaches nobody.
func (s *Server) HandleUpgrade(pattern string, f func(c net.Conn) error) {
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != Protocol {
			writeError(w, fmt.Errorf("%w: this needs the header Upgrade: %s", ErrRequest, Protocol))
			return
		}
		c, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			writeError(w, err)
			return
		}
		defer c.Close()
		if !s.begin(c) {
			return
		}
		defer s.end(c)
		if err := c.SetDeadline(time.Time{}); err != nil {
			return
		}
		if _, err := fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", Protocol); err != nil {
			return
		}
		_ = f(&streamConn{c, buffered.Reader})
	})
}

func (s *Server) begin(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.streams[c] = struct{}{}
	s.running.Add(1)
	return true
}

func (s *Server) end(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.streams, c)
	s.running.Done()
}

// streamConn is a connection whose first bytes were read ahead.
type streamConn struct {
	net.Conn
	r io.Reader
}

func (c *streamConn) Read(p []byte) (int, error) { return c.r.Read(p) }

// CloseWrite ends the direction away from us.
func (c *streamConn) CloseWrite() error {
	if h, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return nil
}

func writeError(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	for sentinel, code := range errorStatuses {
		if errors.Is(err, sentinel) {
			status = code
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(errorBody{err.Error()})
}

type errorBody struct {
	Error string `json:"error"`
}

// Serve answers until Close.
func (s *Server) Serve(l net.Listener) error {
	if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// drainTime is how long requests under way may take when the guest has ended.
const drainTime = 2 * time.Second

// Close stops answering: requests under way are given a moment, byte streams are closed. When it returns no
// handler runs any more.
func (s *Server) Close() error {
	s.mu.Lock()
	if !s.closed {
		close(s.done)
	}
	s.closed = true
	for c := range s.streams {
		c.Close()
	}
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.http.Close()
	}
	s.running.Wait()
	return err
}
