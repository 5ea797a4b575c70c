package afunix

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/net/socket"
	"ringo/guestkernel/vfs"
	"ringo/guestkernel/wait"
)

// Halves that are shut down.
const (
	shutReceive = 1
	shutSend    = 2
	shutBoth    = shutReceive | shutSend
)

type state int

const (
	closed state = iota // neither of the others
	listening
	connected
)

// MaxDatagrams is how many datagrams wait at a socket before senders do (/proc/sys/net/unix/max_dgram_qlen).
const MaxDatagrams = 10

const (
	readable = wait.In | wait.RdNorm | wait.Pri | wait.RdBand
	writable = wait.Out | wait.WrNorm | wait.WrBand
	anything = ^wait.Mask(0)
)

// Socket is an AF_UNIX socket.
type Socket struct {
	socket.Base
	number uint64       // order of locks
	wmem   atomic.Int64 // charged for what this socket sent and nobody has read, in bytes

	mu        sync.Mutex
	state     state
	name      *name
	peer      *Socket // stays after the peer's end, for its name
	shut      int
	err       error // SO_ERROR
	dead      bool
	accepted  bool // has a description, unlike a connection in the backlog
	queue     queue
	backlog   int
	pending   []*Socket            // connections that accept(2) will answer
	throttled map[*Socket]struct{} // senders that found the queue or backlog full
}

var lastNumber atomic.Uint64

func newSocket(typ, protocol int) *Socket {
	s := &Socket{number: lastNumber.Add(1), backlog: MaxDatagrams}
	s.Init(unix.AF_UNIX, typ, protocol)
	return s
}

func check(typ, protocol int) (int, error) {
	if protocol != 0 && protocol != unix.AF_UNIX {
		return 0, unix.EPROTONOSUPPORT
	}
	switch typ {
	case unix.SOCK_STREAM, unix.SOCK_DGRAM, unix.SOCK_SEQPACKET:
		return typ, nil
	case unix.SOCK_RAW: // BSD's name for the same
		return unix.SOCK_DGRAM, nil
	}
	return 0, unix.ESOCKTNOSUPPORT
}

func init() {
	socket.Register(unix.AF_UNIX, &socket.Family{InProgress: unix.EAGAIN,
		New: func(_ vfs.Caller, typ, protocol int) (socket.Socket, error) {
			typ, err := check(typ, protocol)
			if err != nil {
				return nil, err
			}
			s := newSocket(typ, protocol)
			s.accepted = true
			names.enter(s)
			return s, nil
		},
		Pair: func(c vfs.Caller, typ, protocol int) (socket.Socket, socket.Socket, error) {
			typ, err := check(typ, protocol)
			if err != nil {
				return nil, nil, err
			}
			a, b := newSocket(typ, protocol), newSocket(typ, protocol)
			a.peer, b.peer = b, a
			for _, s := range []*Socket{a, b} {
				s.state, s.accepted = connected, true
				s.setPeer(c)
				names.enter(s)
			}
			return a, b, nil
		},
	})
}

// setPeer makes the caller the process at the other end.
func (s *Socket) setPeer(c vfs.Caller) {
	s.SetPeer(socket.CredentialsOf(c, true), c.Creds().Groups)
}

// connectionBased reports a type that listens and accepts.
func (s *Socket) connectionBased() bool { return s.Type != unix.SOCK_DGRAM }

// lockBoth locks two sockets, which may be one.
func lockBoth(a, b *Socket) {
	switch {
	case a == b:
		a.mu.Lock()
	case a.number < b.number:
		a.mu.Lock()
		b.mu.Lock()
	default:
		b.mu.Lock()
		a.mu.Lock()
	}
}

func unlockBoth(a, b *Socket) {
	a.mu.Unlock()
	if a != b {
		b.mu.Unlock()
	}
}

// full reports that no more may be put into the queue or backlog (unix_recvq_full). mu is held.
func (s *Socket) full() bool {
	if s.state == listening {
		return len(s.pending) > s.backlog
	}
	return s.queue.n > s.backlog
}

// throttle has by told when there is room again. mu is held.
func (s *Socket) throttle(by *Socket) {
	if s.throttled == nil {
		s.throttled = make(map[*Socket]struct{})
	}
	s.throttled[by] = struct{}{}
}

// unthrottle answers whom to tell that there is room; tell does it without the lock. mu is held.
func (s *Socket) unthrottle() map[*Socket]struct{} {
	t := s.throttled
	s.throttled = nil
	return t
}

func tell(senders map[*Socket]struct{}) {
	for s := range senders {
		s.Queue.Notify(writable)
	}
}

// takeErrLocked answers and clears the pending error.
func (s *Socket) takeErrLocked() error {
	err := s.err
	s.err = nil
	return err
}

// TakeError implements socket.Socket.
func (s *Socket) TakeError() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.takeErrLocked()
}

// Listening implements socket.Socket.
func (s *Socket) Listening() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state == listening
}

// roomy reports that the socket counts as writable (unix_writable): a quarter of the buffer is in use at most.
func (s *Socket) roomy() bool { return (s.wmem.Load()+1)*4 <= int64(s.SendBuffer()) }

// Readiness implements socket.Socket, as unix_poll and unix_dgram_poll do.
func (s *Socket) Readiness() wait.Mask {
	var m wait.Mask
	s.mu.Lock()
	if s.err != nil {
		m |= wait.Err
	}
	if s.shut == shutBoth {
		m |= wait.Hup
	}
	if s.shut&shutReceive != 0 {
		m |= wait.RdHup | wait.In | wait.RdNorm
	}
	if s.queue.n > 0 || len(s.pending) > 0 {
		m |= wait.In | wait.RdNorm
	}
	if s.connectionBased() && s.state == closed {
		m |= wait.Hup
	}
	canWrite := s.state != listening && s.roomy()
	peer := s.peer
	s.mu.Unlock()
	if canWrite && s.Type != unix.SOCK_STREAM && peer != nil {
		peer.mu.Lock()
		if peer.peer != s && !peer.dead && peer.full() {
			peer.throttle(s)
			canWrite = false
		}
		peer.mu.Unlock()
	}
	if canWrite {
		m |= writable
	}
	return m
}

// Listen implements socket.Socket.
func (s *Socket) Listen(c vfs.Caller, backlog int) error {
	if !s.connectionBased() {
		return unix.EOPNOTSUPP
	}
	s.mu.Lock()
	if s.name == nil || s.state == connected {
		s.mu.Unlock()
		return unix.EINVAL
	}
	s.backlog = backlog
	s.state = listening
	var senders map[*Socket]struct{}
	if !s.full() {
		senders = s.unthrottle()
	}
	s.setPeer(c)
	s.mu.Unlock()
	tell(senders)
	return nil
}

// Accept implements socket.Socket.
func (s *Socket) Accept(vfs.Caller) (socket.Socket, error) {
	if !s.connectionBased() {
		return nil, unix.EOPNOTSUPP
	}
	s.mu.Lock()
	if s.state != listening {
		s.mu.Unlock()
		return nil, unix.EINVAL
	}
	if len(s.pending) == 0 {
		shut := s.shut&shutReceive != 0
		s.mu.Unlock()
		if shut {
			return nil, unix.EINVAL
		}
		return nil, wait.ErrWouldBlock
	}
	n := s.pending[0]
	s.pending = s.pending[1:]
	senders := s.unthrottle()
	s.mu.Unlock()
	tell(senders)
	n.mu.Lock()
	n.accepted = true
	n.mu.Unlock()
	names.enter(n)
	return n, nil
}

// Connect implements socket.Socket.
func (s *Socket) Connect(c vfs.Caller, addr []byte, _ bool) error {
	if s.Type == unix.SOCK_DGRAM {
		return s.connectDatagram(c, addr)
	}
	if err := validate(addr); err != nil {
		return err
	}
	if err := s.autobindForCredentials(c); err != nil {
		return err
	}
	for {
		other, err := lookup(c, addr, s.Type)
		if err != nil {
			return err
		}
		again, err := s.connectTo(c, other)
		if !again {
			return err
		}
	}
}

// connectTo puts a new connection into the backlog of other; again says that the address has to be looked up once more.
func (s *Socket) connectTo(c vfs.Caller, other *Socket) (again bool, err error) {
	lockBoth(s, other)
	if other.dead {
		unlockBoth(s, other)
		return true, nil
	}
	switch {
	case other.state != listening, other.shut&shutReceive != 0:
		err = unix.ECONNREFUSED
	case other.full():
		other.throttle(s)
		err = wait.ErrWouldBlock
	case s.state == connected:
		err = unix.EISCONN
	case s.state != closed:
		err = unix.EINVAL
	}
	if err != nil {
		unlockBoth(s, other)
		return false, err
	}
	n := newSocket(s.Type, s.Protocol)
	n.name, n.state, n.peer = other.name, connected, s
	n.SetFlag(unix.SO_PASSCRED, other.Flag(unix.SO_PASSCRED))
	n.setPeer(c)
	s.CopyPeer(&other.Base)
	s.state, s.peer = connected, n
	other.pending = append(other.pending, n)
	unlockBoth(s, other)
	other.Queue.Notify(readable)
	s.Queue.Notify(writable)
	return false, nil
}

// connectDatagram sets the address that datagrams go to; AF_UNSPEC takes it back.
func (s *Socket) connectDatagram(c vfs.Caller, addr []byte) error {
	if len(addr) < 2 {
		return unix.EINVAL
	}
	var other *Socket
	if family(addr) != unix.AF_UNSPEC {
		if err := validate(addr); err != nil {
			return err
		}
		if err := s.autobindForCredentials(c); err != nil {
			return err
		}
		for other == nil || other.dead {
			if other != nil {
				unlockBoth(s, other)
			}
			var err error
			if other, err = lookup(c, addr, s.Type); err != nil {
				return err
			}
			lockBoth(s, other)
		}
		if other.peer != nil && other.peer != s {
			unlockBoth(s, other)
			return unix.EPERM
		}
		s.state, other.state = connected, connected
	} else {
		s.mu.Lock()
		s.state = closed
	}
	old := s.peer
	s.peer = other
	if other == nil {
		s.mu.Unlock()
	} else {
		unlockBoth(s, other)
	}
	if old != nil && old != other {
		s.disconnected(old)
	}
	return nil
}

// disconnected drops what a former peer sent, and tells it if it still thinks that we are connected (unix_dgram_disconnected).
func (s *Socket) disconnected(old *Socket) {
	lockBoth(s, old)
	var dropped *message
	senders := s.unthrottle()
	if s.queue.n > 0 {
		dropped = s.queue.takeAll()
		if !old.dead && old.peer == s {
			old.err = unix.ECONNRESET
		}
	}
	unlockBoth(s, old)
	tell(senders)
	dropped.drop()
	old.Queue.Notify(anything)
}

// Shutdown implements socket.Socket.
func (s *Socket) Shutdown(how int) error {
	if how < unix.SHUT_RD || how > unix.SHUT_RDWR {
		return unix.EINVAL
	}
	half := how + 1
	s.mu.Lock()
	s.shut |= half
	peer := s.peer
	senders := s.unthrottle()
	s.mu.Unlock()
	tell(senders)
	if peer != nil && s.connectionBased() {
		mirror := half&shutReceive<<1 | half&shutSend>>1
		peer.mu.Lock()
		peer.shut |= mirror
		peer.mu.Unlock()
		peer.Queue.Notify(anything)
	}
	s.Queue.Notify(anything)
	return nil
}

// Name implements socket.Socket.
func (s *Socket) Name() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.name.address(), nil
}

// PeerName implements socket.Socket.
func (s *Socket) PeerName() ([]byte, error) {
	s.mu.Lock()
	peer := s.peer
	s.mu.Unlock()
	if peer == nil {
		return nil, unix.ENOTCONN
	}
	return peer.Name()
}

// Option implements socket.Socket: there are none but those of all sockets.
func (s *Socket) Option(_ vfs.Caller, _, _, _ int) ([]byte, error) { return nil, unix.EOPNOTSUPP }

// SetOption implements socket.Socket.
func (s *Socket) SetOption(_ vfs.Caller, _, _ int, _ []byte) error { return unix.EOPNOTSUPP }

// Ioctl implements socket.Socket.
func (s *Socket) Ioctl(c vfs.Caller, cmd uint32, arg uint64) (uint64, error) {
	switch cmd {
	case unix.SIOCINQ:
		s.mu.Lock()
		n, listens := s.queue.bytes, s.state == listening
		if s.Type == unix.SOCK_DGRAM {
			n = 0
			if m := s.queue.head; m != nil {
				n = len(m.data)
			}
		}
		s.mu.Unlock()
		if listens {
			return 0, unix.EINVAL
		}
		return 0, vfs.PutInt32(c, arg, int32(n))
	case unix.SIOCOUTQ:
		return 0, vfs.PutInt32(c, arg, int32(s.wmem.Load()))
	}
	return 0, unix.ENOTTY
}

// Release implements socket.Socket.
func (s *Socket) Release() {
	s.close(false)
	collect()
}

// close ends the socket. An embryo is a connection that nobody accepted: its peer is told so.
func (s *Socket) close(embryo bool) {
	s.mu.Lock()
	s.dead, s.shut = true, shutBoth
	n, peer := s.name, s.peer
	unread := s.queue.n > 0 || embryo
	msgs := s.queue.takeAll()
	pending := s.pending
	s.pending = nil
	if s.Type == unix.SOCK_DGRAM {
		s.peer = nil
	}
	s.state = closed
	senders := s.unthrottle()
	s.mu.Unlock()
	names.leave(s, n)
	if peer != nil && s.connectionBased() {
		peer.mu.Lock()
		peer.shut = shutBoth
		if unread {
			peer.err = unix.ECONNRESET
		}
		peer.mu.Unlock()
		peer.Queue.Notify(anything)
	}
	tell(senders)
	for _, p := range pending {
		p.close(true)
	}
	msgs.drop()
}
