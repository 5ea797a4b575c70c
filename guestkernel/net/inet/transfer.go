package inet

import (
	"io"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"

	"ringo/guestkernel/net/socket"
	"ringo/guestkernel/vfs"
	"ringo/guestkernel/wait"
)

// maxDatagram is the largest payload of a UDP datagram over IPv4, in bytes.
const maxDatagram = 65507

// source is user memory as endpoints read it.
type source struct {
	b  vfs.Buffer
	at int
}

// Len implements tcpip.Payloader.
func (p *source) Len() int { return p.b.Len() - p.at }

// Read implements io.Reader.
func (p *source) Read(dst []byte) (int, error) {
	if p.Len() == 0 {
		return 0, io.EOF
	}
	n := min(len(dst), p.Len())
	k, err := p.b.CopyIn(p.at, dst[:n])
	p.at += k
	return k, err
}

// sink is user memory as endpoints write to it. What does not fit is passed over when the sink swallows, and stops the transfer when not.
type sink struct {
	b        vfs.Buffer
	discard  bool // MSG_TRUNC of a stream: nothing is stored
	swallow  bool
	put, all int
}

// Write implements io.Writer.
func (w *sink) Write(src []byte) (int, error) {
	n := min(len(src), w.b.Len()-w.put)
	if !w.discard {
		k, err := w.b.CopyOut(w.put, src[:n])
		w.put, w.all = w.put+k, w.all+k
		if err != nil {
			return k, err
		}
	} else {
		w.put, w.all = w.put+n, w.all+n
	}
	if n < len(src) {
		if !w.swallow {
			return n, io.ErrShortWrite
		}
		w.all += len(src) - n
	}
	return len(src), nil
}

// Send implements socket.Socket.
func (s *Socket) Send(c vfs.Caller, m *socket.Outgoing) (int, error) {
	if m.Flags&unix.MSG_OOB != 0 {
		return 0, unix.EOPNOTSUPP
	}
	if m.Done == 0 {
		if err := s.TakeError(); err != nil {
			return 0, err
		}
	}
	if s.tcp() {
		return s.sendStream(m)
	}
	if s.isShut(shutSend) {
		return 0, unix.EPIPE
	}
	if s.Protocol == unix.IPPROTO_UDP && m.Data.Len() > maxDatagram {
		return 0, unix.EMSGSIZE
	}
	opts := tcpip.WriteOptions{Atomic: true, More: m.Flags&unix.MSG_MORE != 0}
	if m.To != nil {
		to, err := s.destination(m.To)
		if err != nil {
			return 0, err
		}
		opts.To = &to
	}
	for _, ctl := range m.Control {
		if err := sendable(ctl, &opts.ControlMessages); err != nil {
			return 0, err
		}
	}
	n, e := s.ep().Write(&source{b: m.Data}, opts)
	err := errno(e)
	if err == unix.EHOSTUNREACH {
		err = unix.ENETUNREACH // there is no route to it
	}
	return int(n), err
}

// destination is where a datagram goes.
func (s *Socket) destination(b []byte) (tcpip.FullAddress, error) {
	domain := s.Domain
	if domain == unix.AF_INET && len(b) >= sizeIn && le.Uint16(b) == unix.AF_UNSPEC {
		b = append([]byte{unix.AF_INET, 0}, b[2:]...)
	}
	if domain == unix.AF_INET6 && len(b) >= 2 && le.Uint16(b) == unix.AF_INET {
		domain = unix.AF_INET
	}
	a, err := parse(domain, b)
	if err != nil {
		return a, err
	}
	if a.Port == 0 && s.Protocol == unix.IPPROTO_UDP {
		return a, unix.EINVAL
	}
	if domain != s.Domain {
		a.Addr = mapped(a.Addr)
	}
	if s.Type == unix.SOCK_RAW {
		a.Port = 0
	}
	return toPeer(a), nil
}

func (s *Socket) sendStream(m *socket.Outgoing) (int, error) {
	if m.Data.Len() == 0 {
		return 0, nil
	}
	done := 0
	for done < m.Data.Len() {
		n, e := s.ep().Write(&source{b: vfs.Slice(m.Data, done, m.Data.Len()-done)}, tcpip.WriteOptions{})
		done += int(n)
		if e != nil {
			return done, errno(e)
		}
		if n == 0 {
			return done, wait.ErrWouldBlock
		}
	}
	return done, nil
}

// Receive implements socket.Socket.
func (s *Socket) Receive(c vfs.Caller, m *socket.Incoming) (int, error) {
	if m.Flags&unix.MSG_ERRQUEUE != 0 {
		return 0, wait.ErrWouldBlock
	}
	if m.Flags&unix.MSG_OOB != 0 {
		if s.tcp() {
			return 0, unix.EINVAL
		}
		return 0, unix.EOPNOTSUPP
	}
	if s.tcp() {
		return s.receiveStream(m)
	}
	if err := s.TakeError(); err != nil {
		return 0, err
	}
	w := &sink{b: m.Data, swallow: true}
	r, e := s.ep().Read(w, tcpip.ReadOptions{Peek: m.Flags&unix.MSG_PEEK != 0, NeedRemoteAddr: true})
	switch e.(type) {
	case nil:
	case *tcpip.ErrWouldBlock, *tcpip.ErrClosedForReceive:
		if s.isShut(shutReceive) && m.Flags&unix.MSG_DONTWAIT == 0 {
			return 0, nil
		}
		return 0, wait.ErrWouldBlock
	default:
		return 0, errno(e)
	}
	if r.ControlMessages.HasTimestamp {
		s.mu.Lock()
		s.stamp = r.ControlMessages.Timestamp.UnixNano()
		s.mu.Unlock()
	}
	m.From = sockaddr(s.Domain, r.RemoteAddr)
	m.Control = s.received(r)
	n := w.put
	if w.all > w.put {
		m.Got |= unix.MSG_TRUNC
		if m.Flags&unix.MSG_TRUNC != 0 {
			n = w.all
		}
	}
	return n, nil
}

func (s *Socket) receiveStream(m *socket.Incoming) (int, error) {
	if m.Data.Len() == 0 {
		if err := s.TakeError(); err != nil {
			return 0, err
		}
	}
	m.End = false
	if m.Done > 0 && s.pending() != nil && s.unread() == 0 {
		m.End = true
		return 0, nil
	}
	e := s.ep()
	w := &sink{b: m.Data, discard: m.Flags&unix.MSG_TRUNC != 0}
	r, err := e.Read(w, tcpip.ReadOptions{Peek: m.Flags&unix.MSG_PEEK != 0})
	switch err.(type) {
	case nil:
		if m.Flags&unix.MSG_PEEK == 0 {
			e.ModerateRecvBuf(r.Count)
		}
		return r.Count, nil
	case *tcpip.ErrClosedForReceive:
		if err := s.TakeError(); err != nil {
			return 0, err
		}
		m.End = true
		return 0, nil
	case *tcpip.ErrWouldBlock:
		if s.isShut(shutReceive) {
			m.End = true
			return 0, nil
		}
		return 0, wait.ErrWouldBlock
	case *tcpip.ErrBadBuffer:
		if m.Data.Len() == 0 {
			return 0, nil
		}
	case *tcpip.ErrNotConnected:
		if s.Listening() {
			return 0, unix.ENOTCONN
		}
	}
	if taken := s.TakeError(); taken != nil {
		return 0, taken
	}
	return 0, errno(err)
}

// stampBytes is a time as a struct timeval or timespec.
func stampBytes(t time.Time, unit int64) []byte {
	b := le.AppendUint64(nil, uint64(t.Unix()))
	return le.AppendUint64(b, uint64(int64(t.Nanosecond())/unit))
}
