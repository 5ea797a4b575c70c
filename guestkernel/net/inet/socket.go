package inet

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"

	"ringo/guestkernel/net/socket"
	"ringo/guestkernel/vfs"
	"ringo/guestkernel/wait"
)

// Buffer sizes that a new TCP socket reports (tcp_wmem, tcp_rmem), and what they have grown to once it is connected over the loopback.
const (
	tcpSendBuffer    = 16384
	tcpReceiveBuffer = 131072
	tcpGrownSend     = 2626560
)

// Halves that the program has shut down.
const (
	shutReceive = 1
	shutSend    = 2
)

// Socket is an AF_INET or AF_INET6 socket.
type Socket struct {
	socket.Base
	owner  uint32 // user id, for /proc/net
	number uint64
	at     atomic.Pointer[endpoint]

	mu         sync.Mutex
	err        error // SO_ERROR that was taken from the endpoint
	shut       int
	bound      *tcpip.FullAddress // by bind(2)
	options    map[option]int     // that the endpoint does not keep
	stage      stage
	stamp      int64 // ns: when the last datagram came
	icmpFilter []byte
}

// stage is how far connect(2) has got with a stream, as its callers know (SS_* in Linux).
type stage int

const (
	unconnected stage = iota
	connecting        // begun; nobody has been told the end
	connected
)

// endpoint is an endpoint of the stack with its queue. A TCP socket that failed to connect gets a new one for the next attempt.
type endpoint struct {
	tcpip.Endpoint
	queue *waiter.Queue
	entry waiter.Entry
}

var last atomic.Uint64

// all are the sockets that are open: /proc/net.
var all struct {
	sync.Mutex
	sockets map[*Socket]struct{}
}

func init() {
	all.sockets = make(map[*Socket]struct{})
	for _, domain := range []int{unix.AF_INET, unix.AF_INET6} {
		socket.Register(domain, &socket.Family{InProgress: unix.EINPROGRESS, New: func(c vfs.Caller, typ, protocol int) (socket.Socket, error) {
			return open(c, domain, typ, protocol)
		}})
	}
}

func netProto(domain int) tcpip.NetworkProtocolNumber {
	if domain == unix.AF_INET6 {
		return header.IPv6ProtocolNumber
	}
	return header.IPv4ProtocolNumber
}

// transport answers the protocol of a socket type (inet_create). Errors: ESOCKTNOSUPPORT, EPROTONOSUPPORT, EPERM and EACCES.
func transport(c vfs.Caller, domain, typ, protocol int) (int, error) {
	if protocol < 0 || protocol > 262 {
		return 0, unix.EINVAL
	}
	ping := unix.IPPROTO_ICMP
	if domain == unix.AF_INET6 {
		ping = unix.IPPROTO_ICMPV6
	}
	switch typ {
	case unix.SOCK_STREAM:
		if protocol == 0 || protocol == unix.IPPROTO_TCP {
			return unix.IPPROTO_TCP, nil
		}
	case unix.SOCK_DGRAM:
		switch protocol {
		case 0, unix.IPPROTO_UDP:
			return unix.IPPROTO_UDP, nil
		case ping:
			if !mayPing(c) {
				return 0, unix.EACCES
			}
			return ping, nil
		}
	case unix.SOCK_RAW:
		if protocol == 0 {
			return 0, unix.EPROTONOSUPPORT
		}
		if !c.Creds().Effective.Has(unix.CAP_NET_RAW) {
			return 0, unix.EPERM
		}
		return protocol, nil
	default:
		return 0, unix.ESOCKTNOSUPPORT
	}
	return 0, unix.EPROTONOSUPPORT
}

func open(c vfs.Caller, domain, typ, protocol int) (*Socket, error) {
	protocol, err := transport(c, domain, typ, protocol)
	if err != nil {
		return nil, err
	}
	s := &Socket{owner: socket.Owner(c), number: last.Add(1)}
	s.Init(domain, typ, protocol)
	if typ == unix.SOCK_STREAM {
		s.SetBuffers(tcpSendBuffer, tcpReceiveBuffer)
	}
	e, err := s.newEndpoint()
	if err != nil {
		return nil, err
	}
	s.at.Store(e)
	s.enter()
	return s, nil
}

func (s *Socket) enter() {
	all.Lock()
	all.sockets[s] = struct{}{}
	all.Unlock()
}

func (s *Socket) newEndpoint() (*endpoint, error) {
	e := &endpoint{queue: &waiter.Queue{}}
	var err tcpip.Error
	st, network := Stack(), netProto(s.Domain)
	switch {
	case s.Type == unix.SOCK_STREAM:
		e.Endpoint, err = st.NewEndpoint(tcp.ProtocolNumber, network, e.queue)
	case s.Type == unix.SOCK_RAW:
		e.Endpoint, err = st.NewRawEndpoint(tcpip.TransportProtocolNumber(s.Protocol), network, e.queue, s.Protocol != unix.IPPROTO_RAW)
	case s.Protocol == unix.IPPROTO_UDP:
		e.Endpoint, err = st.NewEndpoint(udp.ProtocolNumber, network, e.queue)
	case s.Protocol == unix.IPPROTO_ICMP:
		e.Endpoint, err = st.NewEndpoint(icmp.ProtocolNumber4, network, e.queue)
	default:
		e.Endpoint, err = st.NewEndpoint(icmp.ProtocolNumber6, network, e.queue)
	}
	if err != nil {
		return nil, errno(err)
	}
	if s.Type == unix.SOCK_RAW && s.Protocol == unix.IPPROTO_RAW {
		e.SocketOptions().SetHeaderIncluded(true)
	}
	if s.Type == unix.SOCK_STREAM {
		e.SocketOptions().SetDelayOption(true) // Nagle's algorithm is on until TCP_NODELAY
	}
	s.watch(e)
	return e, nil
}

// watch passes the endpoint's events on to the socket's queue.
func (s *Socket) watch(e *endpoint) {
	e.entry = waiter.NewFunctionEntry(waiter.AllEvents, func(m waiter.EventMask) {
		ready := wait.Mask(m.ToLinux())
		if ready&wait.In != 0 {
			ready |= wait.RdHup
		}
		if ready&wait.Out != 0 {
			ready |= wait.WrBand
		}
		s.Queue.Notify(ready)
	})
	e.queue.EventRegister(&e.entry)
}

func (s *Socket) ep() *endpoint { return s.at.Load() }

func (s *Socket) tcp() bool { return s.Type == unix.SOCK_STREAM }

// Bind implements socket.Socket.
func (s *Socket) Bind(c vfs.Caller, b []byte) error {
	if s.Domain == unix.AF_INET && len(b) >= sizeIn && le.Uint16(b) == unix.AF_UNSPEC && le.Uint32(b[4:]) == 0 {
		b = append([]byte{unix.AF_INET, 0}, b[2:]...) // 4.3BSD programs leave it out
	}
	a, err := parse(s.Domain, b)
	if err != nil {
		return err
	}
	if s.Type == unix.SOCK_RAW {
		a.Port = 0
	}
	if a.Port != 0 && a.Port < 1024 && !c.Creds().Effective.Has(unix.CAP_NET_BIND_SERVICE) {
		return unix.EACCES
	}
	if s.tcp() && s.listened(a) {
		return unix.EADDRINUSE
	}
	if err := errno(s.ep().Bind(toStack(a))); err != nil {
		return err
	}
	s.mu.Lock()
	s.bound = &a
	s.mu.Unlock()
	return nil
}

// Listen implements socket.Socket.
func (s *Socket) Listen(_ vfs.Caller, backlog int) error {
	if !s.tcp() {
		return unix.EOPNOTSUPP
	}
	e := s.ep()
	switch tcp.EndpointState(e.State()) {
	case tcp.StateInitial:
		if err := errno(e.Bind(tcpip.FullAddress{})); err != nil {
			return err
		}
	case tcp.StateBound:
		if a, err := e.GetLocalAddress(); err == nil && s.listened(a) {
			return unix.EADDRINUSE
		}
	case tcp.StateListen:
	case tcp.StateError, tcp.StateClose: // unconnected again
		if err := s.renew(); err != nil {
			return err
		}
		return s.Listen(nil, backlog)
	default:
		return unix.EINVAL
	}
	s.mu.Lock()
	s.shut = 0
	s.mu.Unlock()
	// One more than asked for fits, as in Linux.
	return errno(s.ep().Listen(min(backlog+1, socket.MaxBacklog)))
}

// Listening implements socket.Socket.
func (s *Socket) Listening() bool {
	return s.tcp() && tcp.EndpointState(s.ep().State()) == tcp.StateListen && !s.isShut(shutReceive)
}

func (s *Socket) isShut(half int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shut&half != 0
}

// Accept implements socket.Socket.
func (s *Socket) Accept(vfs.Caller) (socket.Socket, error) {
	if !s.tcp() {
		return nil, unix.EOPNOTSUPP
	}
	if !s.Listening() {
		return nil, unix.EINVAL
	}
	ep, queue, e := s.ep().Accept(nil)
	if e != nil {
		return nil, errno(e)
	}
	n := &Socket{owner: s.owner, number: last.Add(1), stage: connected}
	n.Init(s.Domain, s.Type, s.Protocol)
	n.Inherit(&s.Base)
	n.grow()
	n.options = s.copyOptions()
	at := &endpoint{Endpoint: ep, queue: queue}
	n.watch(at)
	n.at.Store(at)
	n.enter()
	return n, nil
}

// grow is Linux's tuning of a connected socket's send buffer, as far as programs see it.
func (s *Socket) grow() {
	if send, _ := s.BuffersSet(); !send {
		s.SetBuffers(tcpGrownSend, s.ReceiveBuffer())
	}
}

// Connect implements socket.Socket.
func (s *Socket) Connect(_ vfs.Caller, b []byte, begun bool) error {
	if len(b) >= 2 && le.Uint16(b) == unix.AF_UNSPEC {
		return s.disconnect()
	}
	if !s.tcp() && s.Domain == unix.AF_INET6 && le.Uint16(b) == unix.AF_INET { // IPv6 sockets take IPv4 peers
		a, err := parse(unix.AF_INET, b)
		if err != nil {
			return err
		}
		a.Addr = mapped(a.Addr)
		b = sockaddr(unix.AF_INET6, a)
	}
	a, err := parse(s.Domain, b)
	if err != nil {
		return err
	}
	if s.tcp() {
		return s.connectStream(toPeer(a), begun)
	}
	s.mu.Lock()
	s.shut = 0
	s.mu.Unlock()
	return errno(s.ep().Connect(toPeer(a)))
}

func (s *Socket) connectStream(a tcpip.FullAddress, begun bool) error {
	e := s.ep()
	switch tcp.EndpointState(e.State()) {
	case tcp.StateListen:
		return unix.EISCONN
	case tcp.StateError, tcp.StateClose:
		switch s.swapStage(unconnected) {
		case connected:
			s.swapStage(connected)
			return unix.EISCONN
		case connecting: // and failed: once that was told the socket is as new
			if err := s.TakeError(); err != nil {
				return err
			}
			return unix.ECONNABORTED
		}
		if err := s.renew(); err != nil {
			return err
		}
		e = s.ep()
	}
	err := errno(e.Connect(a))
	switch err {
	case nil:
		s.swapStage(connected)
		s.grow()
	case wait.ErrWouldBlock:
		s.swapStage(connecting)
	case socket.ErrConnecting:
		if begun {
			err = wait.ErrWouldBlock
		}
	case unix.EHOSTUNREACH:
		if !begun { // no route
			err = unix.ENETUNREACH
		}
	}
	return err
}

func (s *Socket) swapStage(to stage) stage {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.stage
	s.stage = to
	return old
}

// renew gives the socket a new endpoint in the place of one that has failed. It keeps what bind(2) and the options said.
func (s *Socket) renew() error {
	old := s.ep()
	old.queue.EventUnregister(&old.entry)
	old.Close()
	n, err := s.newEndpoint()
	if err != nil {
		return err
	}
	copyEndpointOptions(n.SocketOptions(), old.SocketOptions())
	s.mu.Lock()
	bound := s.bound
	s.shut, s.err, s.stage = 0, nil, unconnected
	s.mu.Unlock()
	s.at.Store(n)
	if bound != nil {
		if err := errno(n.Bind(toStack(*bound))); err != nil {
			return err
		}
	}
	return s.reapply()
}

// disconnect is connect(2) with AF_UNSPEC: the association is dissolved, a connection reset.
func (s *Socket) disconnect() error {
	if !s.tcp() {
		err := s.ep().Disconnect()
		s.mu.Lock()
		s.shut, s.err = 0, nil
		s.mu.Unlock()
		return errno(err)
	}
	s.ep().SocketOptions().SetLinger(tcpip.LingerOption{Enabled: true})
	err := s.renew()
	s.Queue.Notify(^wait.Mask(0))
	return err
}

// Shutdown implements socket.Socket.
func (s *Socket) Shutdown(how int) error {
	half := how + 1
	var flags tcpip.ShutdownFlags
	if half&shutReceive != 0 {
		flags |= tcpip.ShutdownRead
	}
	if half&shutSend != 0 {
		flags |= tcpip.ShutdownWrite
	}
	err := errno(s.ep().Shutdown(flags))
	if s.tcp() && err != nil {
		return err
	}
	// A datagram socket that is not connected is shut down all the same, and told that it is not connected.
	s.mu.Lock()
	s.shut |= half
	s.mu.Unlock()
	s.Queue.Notify(^wait.Mask(0))
	return err
}

// Name implements socket.Socket.
func (s *Socket) Name() ([]byte, error) {
	a, err := s.ep().GetLocalAddress()
	if err != nil {
		a = tcpip.FullAddress{}
	}
	if s.Type == unix.SOCK_RAW {
		a.Port = uint16(s.Protocol) // as in Linux
	}
	return sockaddr(s.Domain, a), nil
}

// PeerName implements socket.Socket.
func (s *Socket) PeerName() ([]byte, error) {
	if s.tcp() {
		switch tcp.EndpointState(s.ep().State()) {
		case tcp.StateEstablished, tcp.StateCloseWait, tcp.StateFinWait1, tcp.StateFinWait2, tcp.StateLastAck, tcp.StateClosing, tcp.StateSynRecv:
		default:
			return nil, unix.ENOTCONN
		}
	}
	a, err := s.ep().GetRemoteAddress()
	if err != nil {
		return nil, unix.ENOTCONN
	}
	return sockaddr(s.Domain, a), nil
}

// Release implements socket.Socket.
func (s *Socket) Release() {
	all.Lock()
	delete(all.sockets, s)
	all.Unlock()
	e := s.ep()
	e.queue.EventUnregister(&e.entry)
	e.Close()
}
