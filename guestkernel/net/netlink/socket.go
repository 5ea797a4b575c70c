// Package netlink is AF_NETLINK (netlink(7)) for NETLINK_ROUTE: how programs ask for interfaces, addresses and routes (rtnetlink(7)).
//
// A request is served while it is sent; the answers wait in the socket's queue. Socket.mu guards a socket; ports.mu is inside it.
package netlink

import (
	"encoding/binary"
	"sync"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/net/socket"
	"ringo/guestkernel/vfs"
	"ringo/guestkernel/wait"
)

var le = binary.LittleEndian

const (
	sizeAddress = 12 // struct sockaddr_nl {family, pad, pid, groups}
	maxRequest  = 64 << 10
)

// Socket is an AF_NETLINK socket.
type Socket struct {
	socket.Base

	mu      sync.Mutex
	port    uint32 // nl_pid; 0: not bound
	groups  uint32
	peer    uint32 // by connect(2)
	queue   [][]byte
	bytes   int
	overrun bool // answers were dropped: ENOBUFS for the next reader
	options map[int]int
}

// ports are the addresses that are taken.
var ports = struct {
	mu    sync.Mutex
	taken map[uint32]*Socket
	next  uint32 // for a process's second socket and further
}{taken: make(map[uint32]*Socket), next: 0xfffff000}

func init() {
	socket.Register(unix.AF_NETLINK, &socket.Family{InProgress: unix.EINPROGRESS, New: func(_ vfs.Caller, typ, protocol int) (socket.Socket, error) {
		if typ != unix.SOCK_RAW && typ != unix.SOCK_DGRAM {
			return nil, unix.ESOCKTNOSUPPORT
		}
		if protocol != unix.NETLINK_ROUTE {
			return nil, unix.EPROTONOSUPPORT
		}
		s := &Socket{options: make(map[int]int)}
		s.Init(unix.AF_NETLINK, typ, protocol)
		return s, nil
	}})
}

func parse(b []byte) (port, groups uint32, err error) {
	if len(b) < sizeAddress || le.Uint16(b) != unix.AF_NETLINK {
		return 0, 0, unix.EINVAL
	}
	return le.Uint32(b[4:]), le.Uint32(b[8:]), nil
}

func address(port, groups uint32) []byte {
	b := make([]byte, sizeAddress)
	le.PutUint16(b, unix.AF_NETLINK)
	le.PutUint32(b[4:], port)
	le.PutUint32(b[8:], groups)
	return b
}

// Bind implements socket.Socket.
func (s *Socket) Bind(c vfs.Caller, b []byte) error {
	port, groups, err := parse(b)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.port != 0 && port != s.port:
		return unix.EINVAL
	case s.port == 0:
		if err := s.takeLocked(c, port); err != nil {
			return err
		}
	}
	s.groups = groups
	return nil
}

// takeLocked takes a port; 0 is one of the kernel's choice, the process's number when it is free.
func (s *Socket) takeLocked(c vfs.Caller, port uint32) error {
	ports.mu.Lock()
	defer ports.mu.Unlock()
	if port != 0 {
		if ports.taken[port] != nil {
			return unix.EADDRINUSE
		}
	} else if port = uint32(socket.LocalPID(c, c.PID())); ports.taken[port] != nil {
		for ports.taken[ports.next] != nil {
			ports.next--
		}
		port = ports.next
	}
	ports.taken[port] = s
	s.port = port
	return nil
}

// Connect implements socket.Socket.
func (s *Socket) Connect(c vfs.Caller, b []byte, _ bool) error {
	if len(b) >= 2 && le.Uint16(b) == unix.AF_UNSPEC {
		s.mu.Lock()
		s.peer = 0
		s.mu.Unlock()
		return nil
	}
	port, groups, err := parse(b)
	if err != nil {
		return err
	}
	if port != 0 || groups != 0 {
		if !c.Creds().Effective.Has(unix.CAP_NET_ADMIN) {
			return unix.EPERM
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.port == 0 {
		if err := s.takeLocked(c, 0); err != nil {
			return err
		}
	}
	s.peer = port
	return nil
}

// Name implements socket.Socket.
func (s *Socket) Name() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return address(s.port, s.groups), nil
}

// PeerName implements socket.Socket.
func (s *Socket) PeerName() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return address(s.peer, 0), nil
}

// Listen implements socket.Socket.
func (s *Socket) Listen(vfs.Caller, int) error { return unix.EOPNOTSUPP }

// Accept implements socket.Socket.
func (s *Socket) Accept(vfs.Caller) (socket.Socket, error) { return nil, unix.EOPNOTSUPP }

// Shutdown implements socket.Socket.
func (s *Socket) Shutdown(int) error { return unix.EOPNOTSUPP }

// Listening implements socket.Socket.
func (s *Socket) Listening() bool { return false }

// TakeError implements socket.Socket.
func (s *Socket) TakeError() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.overrun {
		s.overrun = false
		return unix.ENOBUFS
	}
	return nil
}

// Readiness implements socket.Socket.
func (s *Socket) Readiness() wait.Mask {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := wait.Out | wait.WrNorm | wait.WrBand
	if len(s.queue) > 0 {
		m |= wait.In | wait.RdNorm
	}
	if s.overrun {
		m |= wait.Err
	}
	return m
}

// Options of level SOL_NETLINK.
const solNetlink = 270

// SetOption implements socket.Socket.
func (s *Socket) SetOption(_ vfs.Caller, level, name int, value []byte) error {
	if level != solNetlink {
		return unix.ENOPROTOOPT
	}
	v, err := socket.ToInt(value)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch name {
	case unix.NETLINK_ADD_MEMBERSHIP, unix.NETLINK_DROP_MEMBERSHIP:
		if v <= 0 || v > unix.RTNLGRP_STATS {
			return unix.EINVAL
		}
		if name == unix.NETLINK_ADD_MEMBERSHIP && v <= 32 {
			s.groups |= 1 << (v - 1)
		} else if v <= 32 {
			s.groups &^= 1 << (v - 1)
		}
		return nil
	case unix.NETLINK_PKTINFO, unix.NETLINK_BROADCAST_ERROR, unix.NETLINK_NO_ENOBUFS, unix.NETLINK_CAP_ACK, unix.NETLINK_EXT_ACK, unix.NETLINK_GET_STRICT_CHK:
		s.options[name] = 0
		if v != 0 {
			s.options[name] = 1
		}
		return nil
	}
	return unix.ENOPROTOOPT
}

// Option implements socket.Socket.
func (s *Socket) Option(_ vfs.Caller, level, name, room int) ([]byte, error) {
	if level != solNetlink {
		return nil, unix.ENOPROTOOPT
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch name {
	case unix.NETLINK_PKTINFO, unix.NETLINK_BROADCAST_ERROR, unix.NETLINK_NO_ENOBUFS, unix.NETLINK_CAP_ACK, unix.NETLINK_EXT_ACK, unix.NETLINK_GET_STRICT_CHK:
		if room < 4 {
			return nil, unix.EINVAL
		}
		return socket.Int(s.options[name], room), nil
	case unix.NETLINK_LIST_MEMBERSHIPS:
		return socket.Int(int(int32(s.groups)), room), nil
	}
	return nil, unix.ENOPROTOOPT
}

// Ioctl implements socket.Socket.
func (s *Socket) Ioctl(vfs.Caller, uint32, uint64) (uint64, error) { return 0, unix.ENOTTY }

// Release implements socket.Socket.
func (s *Socket) Release() {
	s.mu.Lock()
	port := s.port
	s.queue = nil
	s.mu.Unlock()
	ports.mu.Lock()
	if ports.taken[port] == s {
		delete(ports.taken, port)
	}
	ports.mu.Unlock()
}

// Send implements socket.Socket: it serves the requests in the message.
func (s *Socket) Send(c vfs.Caller, m *socket.Outgoing) (int, error) {
	if m.Flags&unix.MSG_OOB != 0 {
		return 0, unix.EOPNOTSUPP
	}
	s.mu.Lock()
	to, groups := s.peer, uint32(0)
	if m.To != nil {
		var err error
		if to, groups, err = parse(m.To); err != nil {
			s.mu.Unlock()
			return 0, err
		}
	}
	if s.port == 0 {
		if err := s.takeLocked(c, 0); err != nil {
			s.mu.Unlock()
			return 0, err
		}
	}
	port := s.port
	s.mu.Unlock()
	if to != 0 || groups != 0 {
		if !c.Creds().Effective.Has(unix.CAP_NET_ADMIN) {
			return 0, unix.EPERM
		}
		return 0, unix.ECONNREFUSED // only the kernel answers
	}
	n := m.Data.Len()
	if n > s.SendBuffer()-32 || n > maxRequest {
		return 0, unix.EMSGSIZE
	}
	b := make([]byte, n)
	if _, err := m.Data.CopyIn(0, b); err != nil {
		return 0, err
	}
	for len(b) >= headerSize {
		size := int(le.Uint32(b))
		if size < headerSize || size > len(b) {
			break
		}
		s.serve(c, port, b[:size])
		b = b[min(align(size), len(b)):]
	}
	return n, nil
}

// put queues an answer.
func (s *Socket) put(b []byte) {
	s.mu.Lock()
	if s.bytes+len(b) > s.ReceiveBuffer() {
		s.overrun = true
	} else {
		s.queue = append(s.queue, b)
		s.bytes += len(b)
	}
	s.mu.Unlock()
	s.Queue.Notify(wait.In | wait.RdNorm | wait.Err)
}

// Receive implements socket.Socket.
func (s *Socket) Receive(_ vfs.Caller, m *socket.Incoming) (int, error) {
	if m.Flags&unix.MSG_OOB != 0 {
		return 0, unix.EOPNOTSUPP
	}
	s.mu.Lock()
	if s.overrun {
		s.overrun = false
		s.mu.Unlock()
		return 0, unix.ENOBUFS
	}
	if len(s.queue) == 0 {
		s.mu.Unlock()
		return 0, wait.ErrWouldBlock
	}
	b := s.queue[0]
	if m.Flags&unix.MSG_PEEK == 0 {
		s.queue = s.queue[1:]
		s.bytes -= len(b)
	}
	s.mu.Unlock()
	n := min(len(b), m.Data.Len())
	if _, err := m.Data.CopyOut(0, b[:n]); err != nil {
		return 0, err
	}
	m.From = address(0, 0)
	m.Creds = &socket.Credentials{}
	if n < len(b) {
		m.Got |= unix.MSG_TRUNC
		if m.Flags&unix.MSG_TRUNC != 0 {
			n = len(b)
		}
	}
	return n, nil
}
