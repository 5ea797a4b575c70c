package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"

	"golang.org/x/sys/unix"
)

// Client talks to one running guest.
type Client struct {
	dir  *Dir
	name string
	http http.Client
}

// NewClient is a client of the guest of that name. It does not connect yet.
func NewClient(d *Dir, name string) *Client {
	c := &Client{dir: d, name: name}
	c.http.Transport = &http.Transport{
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return d.Dial(name) },
		DisableKeepAlives: true,
	}
	return c
}

// Get reads the JSON answer of a GET into answer.
func (c *Client) Get(ctx context.Context, path string, answer any) error {
	return c.do(ctx, http.MethodGet, path, nil, answer)
}

// Post sends body, which may be nil, as JSON, and reads the JSON answer into answer, which may be nil.
func (c *Client) Post(ctx context.Context, path string, body, answer any) error {
	return c.do(ctx, http.MethodPost, path, body, answer)
}

func (c *Client) do(ctx context.Context, method, path string, body, answer any) error {
	r, err := c.request(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if answer == nil {
		return nil
	}
	if err := json.NewDecoder(r.Body).Decode(answer); err != nil {
		return c.failed(err)
	}
	return nil
}

// Stream opens the byte answer of a GET.
func (c *Client) Stream(ctx context.Context, path string) (io.ReadCloser, error) {
	r, err := c.request(ctx, http.MethodGet, path, nil)
	if err != nil {
		return nil, err
	}
	return r.Body, nil
}

func (c *Client) request(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var content io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(b)
	}
	q, err := http.NewRequestWithContext(ctx, method, "http://"+c.name+path, content)
	if err != nil {
		return nil, err
	}
	r, err := c.http.Do(q)
	if err != nil {
		return nil, c.failed(err)
	}
	if r.StatusCode/100 != 2 {
		defer r.Body.Close()
		return nil, remoteError(r)
	}
	return r, nil
}

// failed names the guest, and drops the URL that the user never wrote.
func (c *Client) failed(err error) error {
	if u := (*url.Error)(nil); errors.As(err, &u) {
		err = u.Err
	}
	switch {
	case errors.Is(err, ErrNone):
		return err
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, unix.ECONNRESET), errors.Is(err, unix.EPIPE):
		return fmt.Errorf("%s: %w", c.name, ErrEnded)
	}
	return fmt.Errorf("%s: %w", c.name, err)
}

// ErrEnded: the guest ended before it had answered.
var ErrEnded = errors.New("the guest ended before it had answered")

func remoteError(r *http.Response) error {
	var body errorBody
	b, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil || json.Unmarshal(b, &body) != nil || body.Error == "" {
		body.Error = "the monitor answered " + r.Status
	}
	return &RemoteError{r.StatusCode, body.Error}
}

// Upgrade makes a connection that is a byte stream after a POST to path.
func (c *Client) Upgrade(ctx context.Context, path string) (net.Conn, error) {
	conn, err := c.dir.Dial(c.name)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+c.name+path, http.NoBody)
	if err != nil {
		conn.Close()
		return nil, err
	}
	q.Header.Set("Connection", "Upgrade")
	q.Header.Set("Upgrade", Protocol)
	in := bufio.NewReader(conn)
	err = q.Write(conn)
	var r *http.Response
	if err == nil {
		r, err = http.ReadResponse(in, q)
	}
	if err != nil {
		conn.Close()
		return nil, c.failed(err)
	}
	if r.StatusCode != http.StatusSwitchingProtocols {
		err := remoteError(r)
		conn.Close()
		return nil, err
	}
	return &streamConn{conn, in}, nil
}

// Await returns when the guest's socket is there, which is soon after its monitor has started, or the context's error.
func (d *Dir) Await(ctx context.Context, name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return fmt.Errorf("inotify: %w", err)
	}
	events := os.NewFile(uintptr(fd), "inotify")
	defer events.Close()
	if _, err := unix.InotifyAddWatch(fd, d.path, unix.IN_MOVED_TO); err != nil {
		return fmt.Errorf("watch %s: %w", d.path, err)
	}
	stop := context.AfterFunc(ctx, func() { events.Close() })
	defer stop()
	var b [4096]byte
	for {
		if conn, err := d.Dial(name); err == nil {
			return conn.Close()
		} else if !errors.Is(err, ErrNone) {
			return err
		}
		if _, err := events.Read(b[:]); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return fmt.Errorf("watch %s: %w", d.path, err)
		}
	}
}
