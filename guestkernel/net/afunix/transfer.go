package afunix

import (
	"golang.org/x/sys/unix"

	"ringo/guestkernel/net/socket"
	"ringo/guestkernel/vfs"
	"ringo/guestkernel/wait"
)

// Send implements socket.Socket.
func (s *Socket) Send(c vfs.Caller, m *socket.Outgoing) (int, error) {
	if m.Flags&unix.MSG_OOB != 0 {
		return 0, unix.EOPNOTSUPP
	}
	if s.Type == unix.SOCK_STREAM {
		return s.sendStream(c, m)
	}
	return s.sendPacket(c, m)
}

// Receive implements socket.Socket.
func (s *Socket) Receive(c vfs.Caller, m *socket.Incoming) (int, error) {
	if m.Flags&unix.MSG_ERRQUEUE != 0 {
		return 0, wait.ErrWouldBlock
	}
	if s.Type == unix.SOCK_STREAM {
		return s.receiveStream(m)
	}
	return s.receivePacket(m)
}

// credentials answers what is attached to a message to peer: nothing unless somebody asked for it (unix_passcred_enabled). peer is locked.
func (s *Socket) credentials(c vfs.Caller, m *socket.Outgoing, peer *Socket) *socket.Credentials {
	if m.Creds != nil {
		return m.Creds
	}
	if s.Flag(unix.SO_PASSCRED) || peer.Flag(unix.SO_PASSCRED) || !peer.accepted {
		return socket.CredentialsOf(c, false)
	}
	return nil
}

func (s *Socket) sendStream(c vfs.Caller, m *socket.Outgoing) (done int, err error) {
	s.mu.Lock()
	peer, st, own := s.peer, s.state, s.name
	s.mu.Unlock()
	if m.To != nil {
		if st == connected {
			return 0, unix.EISCONN
		}
		return 0, unix.EOPNOTSUPP
	}
	if peer == nil {
		return 0, unix.ENOTCONN
	}
	files := m.Rights
	for {
		s.mu.Lock()
		shut := s.shut&shutSend != 0
		s.mu.Unlock()
		if shut {
			return done, unix.EPIPE
		}
		if done == m.Data.Len() {
			return done, nil
		}
		n := min(m.Data.Len()-done, s.SendBuffer()/2-64, maxLinear+maxFragment)
		msg, err := s.reserve(n, maxLinear)
		if err != nil {
			return done, err
		}
		if _, err = m.Data.CopyIn(done, msg.data); err == nil {
			msg.bag, err = pack(c, files)
		}
		if err != nil {
			msg.uncharge()
			return done, err
		}
		msg.name = own
		peer.mu.Lock()
		if peer.dead || peer.shut&shutReceive != 0 {
			peer.mu.Unlock()
			msg.drop()
			return done, unix.EPIPE
		}
		msg.creds = s.credentials(c, m, peer)
		peer.queue.put(msg)
		peer.mu.Unlock()
		peer.Queue.Notify(readable)
		done, files = done+n, nil
	}
}

func (s *Socket) receiveStream(m *socket.Incoming) (int, error) {
	if m.Flags&unix.MSG_OOB != 0 {
		return 0, unix.EINVAL
	}
	peek := m.Flags&unix.MSG_PEEK != 0
	m.End = false
	var read *message // emptied
	s.mu.Lock()
	if s.state != connected {
		s.mu.Unlock()
		return 0, unix.EINVAL
	}
	if s.queue.head == nil {
		defer s.mu.Unlock()
		if s.err != nil && m.Done == 0 {
			return 0, s.takeErrLocked()
		}
		if s.shut&shutReceive != 0 || s.err != nil {
			m.End = true
			return 0, nil
		}
		return 0, wait.ErrWouldBlock
	}
	done, skip, first := 0, 0, true
	if peek {
		skip = max(0, s.PeekOffset())
	}
	var bag *baggage
	var err error
	pass := s.Flag(unix.SO_PASSCRED)
	for cur := s.queue.head; cur != nil && done < m.Data.Len() && !m.End; {
		if skip >= cur.left() {
			skip -= cur.left()
			cur = cur.next
			continue
		}
		if pass && !first && !sameCreds(m.Creds, cur.creds) {
			m.End = true
			break
		}
		n := min(cur.left()-skip, m.Data.Len()-done)
		if _, err = m.Data.CopyOut(done, cur.data[cur.at+skip:cur.at+skip+n]); err != nil {
			break
		}
		if first {
			m.Creds, first = cur.creds, false
			if cur.name != nil {
				m.From = cur.name.address()
			}
		}
		done += n
		if peek {
			if cur.bag != nil {
				m.Rights, m.End = cur.bag.copies(), true
			}
			skip, cur = 0, cur.next
			continue
		}
		cur.at += n
		s.queue.bytes -= n
		if cur.bag != nil {
			bag, cur.bag, m.End = cur.bag, nil, true
		}
		if cur.left() == 0 {
			cur = s.queue.take()
			cur.next = read
			read = cur
		}
		cur = s.queue.head
	}
	if done == 0 && err == nil && m.Data.Len() > 0 { // all of it was peeked at
		err = wait.ErrWouldBlock
		if s.shut&shutReceive != 0 {
			err, m.End = nil, true
		}
	}
	if s.shut&shutReceive != 0 && s.queue.head == nil {
		m.End = true
	}
	s.mu.Unlock()
	if peek {
		s.MovePeek(done)
	} else {
		s.MovePeek(-done)
	}
	if bag != nil {
		m.Rights = bag.unpack()
	}
	for ; read != nil; read = read.next {
		read.uncharge()
	}
	if done > 0 {
		err = nil
	}
	return done, err
}

func sameCreds(a, b *socket.Credentials) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

// sendPacket sends a datagram or sequenced packet.
func (s *Socket) sendPacket(c vfs.Caller, m *socket.Outgoing) (int, error) {
	s.mu.Lock()
	peer, own, st := s.peer, s.name, s.state
	err := s.takeErrLocked()
	shut := s.shut&shutSend != 0
	s.mu.Unlock()
	to := m.To
	if s.Type == unix.SOCK_SEQPACKET {
		to = nil
		if err == nil && st != connected {
			return 0, unix.ENOTCONN
		}
	}
	if to != nil {
		if e := validate(to); e != nil {
			return 0, e
		}
	} else if peer == nil && err == nil {
		return 0, unix.ENOTCONN
	}
	if err != nil {
		return 0, err
	}
	if s.Flag(unix.SO_PASSCRED) && own == nil {
		if err := s.autobind(); err != nil {
			return 0, err
		}
		s.mu.Lock()
		own = s.name
		s.mu.Unlock()
	}
	n := m.Data.Len()
	if n > s.SendBuffer()-32 {
		return 0, unix.EMSGSIZE
	}
	if shut {
		return 0, unix.EPIPE
	}
	var msg *message
	for {
		other := peer
		if to != nil {
			if other, err = lookup(c, to, s.Type); err != nil {
				break
			}
		}
		// A full receiver is found before there is anything to take back: that would wake this very sender.
		if other.crowded(s) {
			err = wait.ErrWouldBlock
			break
		}
		if msg == nil {
			if msg, err = s.pack(c, m, own); err != nil {
				return 0, err
			}
		}
		if err = s.deliver(c, m, msg, other); err != errDead {
			break
		}
		if err = s.lost(other); err != nil {
			break
		}
		if to == nil {
			err = unix.ECONNRESET
			break
		}
	}
	if err != nil {
		if msg != nil {
			msg.drop()
		}
		return 0, err
	}
	return n, nil
}

// pack makes the message of a send.
func (s *Socket) pack(c vfs.Caller, m *socket.Outgoing, own *name) (*message, error) {
	msg, err := s.reserve(m.Data.Len(), maxPacket)
	if err != nil {
		return nil, err
	}
	if _, err = m.Data.CopyIn(0, msg.data); err == nil {
		msg.bag, err = pack(c, m.Rights)
	}
	if err != nil {
		msg.uncharge()
		return nil, err
	}
	msg.name = own
	return msg, nil
}

// lost forgets a peer that was closed, and answers the error to tell; nil for an address that may belong to another by now.
func (s *Socket) lost(other *Socket) error {
	if s.Type == unix.SOCK_SEQPACKET {
		return unix.EPIPE
	}
	s.mu.Lock()
	was := s.peer == other
	if was {
		s.peer, s.state = nil, closed
	}
	s.mu.Unlock()
	if !was {
		return nil
	}
	s.disconnected(other)
	return unix.ECONNREFUSED
}

// crowded reports that s has to wait until somebody reads from other, and has it told then.
func (other *Socket) crowded(s *Socket) bool {
	other.mu.Lock()
	defer other.mu.Unlock()
	if other.dead || other == s || other.peer == s || other.peer != nil || other.shut&shutReceive != 0 || !other.full() {
		return false
	}
	other.throttle(s)
	return true
}

// errDead says that a socket was closed between finding it and looking at it.
const errDead = unix.Errno(0xffff)

// deliver queues msg at other.
func (s *Socket) deliver(c vfs.Caller, m *socket.Outgoing, msg *message, other *Socket) error {
	other.mu.Lock()
	var err error
	switch {
	case other.dead:
		err = errDead
	case other.peer != nil && other.peer != s:
		err = unix.EPERM
	case other.shut&shutReceive != 0:
		err = unix.EPIPE
	case other != s && other.peer != s && other.full():
		other.throttle(s)
		err = wait.ErrWouldBlock
	default:
		msg.creds = s.credentials(c, m, other)
		other.queue.put(msg)
	}
	other.mu.Unlock()
	if err == nil {
		other.Queue.Notify(readable)
	}
	return err
}

func (s *Socket) receivePacket(m *socket.Incoming) (int, error) {
	if m.Flags&unix.MSG_OOB != 0 {
		return 0, unix.EOPNOTSUPP
	}
	peek := m.Flags&unix.MSG_PEEK != 0
	s.mu.Lock()
	if s.Type == unix.SOCK_SEQPACKET && s.state != connected {
		s.mu.Unlock()
		return 0, unix.ENOTCONN
	}
	skip, cur := 0, s.queue.head
	if peek {
		for skip = max(0, s.PeekOffset()); cur != nil && skip > 0 && skip >= len(cur.data); cur = cur.next {
			skip -= len(cur.data)
		}
	}
	if cur == nil {
		defer s.mu.Unlock()
		if err := s.takeErrLocked(); err != nil {
			return 0, err
		}
		if s.shut&shutReceive != 0 && (s.Type == unix.SOCK_SEQPACKET || m.Flags&unix.MSG_DONTWAIT == 0) {
			return 0, nil
		}
		return 0, wait.ErrWouldBlock
	}
	if peek {
		m.Rights = cur.bag.copies()
	} else {
		s.queue.take()
	}
	senders := s.unthrottle()
	s.mu.Unlock()
	tell(senders)
	data := cur.data[skip:]
	n := min(len(data), m.Data.Len())
	_, err := m.Data.CopyOut(0, data[:n])
	if n < len(data) {
		m.Got |= unix.MSG_TRUNC
	}
	m.Creds = cur.creds
	if cur.name != nil {
		m.From = cur.name.address()
	}
	if peek {
		s.MovePeek(n)
	} else {
		s.MovePeek(-len(cur.data))
		m.Rights = cur.bag.unpack()
		cur.uncharge()
	}
	if err != nil {
		return 0, err
	}
	if m.Flags&unix.MSG_TRUNC != 0 {
		n = len(data)
	}
	return n, nil
}
