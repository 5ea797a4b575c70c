package inet

import (
	"math"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"

	"ringo/guestkernel/net/socket"
	"ringo/guestkernel/vfs"
)

// option names a socket option of a level above SOL_SOCKET.
type option struct{ level, name int }

// spec is what is known of an option: setsockopt checks the range and stores the value, getsockopt reads it back, apply tells the endpoint.
type spec struct {
	first   int // value before it is set
	min     int
	max     int
	boolean bool
	apply   func(e *endpoint, v int) tcpip.Error
	// read, if set, is what getsockopt answers.
	read func(s *Socket, e *endpoint) (int, tcpip.Error)
}

// toggle is an on-or-off option.
func toggle(first int, apply func(o *tcpip.SocketOptions, on bool)) spec {
	s := spec{first: first, boolean: true}
	if apply != nil {
		s.apply = func(e *endpoint, v int) tcpip.Error { apply(e.SocketOptions(), v != 0); return nil }
	}
	return s
}

func integer(opt tcpip.SockOptInt) func(*endpoint, int) tcpip.Error {
	return func(e *endpoint, v int) tcpip.Error { return e.SetSockOptInt(opt, v) }
}

func seconds(set func(e *endpoint, d time.Duration) tcpip.Error) func(*endpoint, int) tcpip.Error {
	return func(e *endpoint, v int) tcpip.Error { return set(e, time.Duration(v)*time.Second) }
}

// options of type int by level. Those of a level that a socket does not have are ENOPROTOOPT.
var options = map[option]spec{
	{unix.IPPROTO_IP, unix.IP_TOS}:                    {max: 255, apply: func(e *endpoint, v int) tcpip.Error { return e.SetSockOptInt(tcpip.IPv4TOSOption, v) }},
	{unix.IPPROTO_IP, unix.IP_TTL}:                    {first: 64, min: 1, max: 255, apply: integer(tcpip.IPv4TTLOption)},
	{unix.IPPROTO_IP, unix.IP_HDRINCL}:                toggle(0, (*tcpip.SocketOptions).SetHeaderIncluded),
	{unix.IPPROTO_IP, unix.IP_PKTINFO}:                toggle(0, (*tcpip.SocketOptions).SetReceivePacketInfo),
	{unix.IPPROTO_IP, unix.IP_RECVTTL}:                toggle(0, (*tcpip.SocketOptions).SetReceiveTTL),
	{unix.IPPROTO_IP, unix.IP_RECVTOS}:                toggle(0, (*tcpip.SocketOptions).SetReceiveTOS),
	{unix.IPPROTO_IP, unix.IP_RECVERR}:                toggle(0, nil),
	{unix.IPPROTO_IP, unix.IP_RECVORIGDSTADDR}:        toggle(0, (*tcpip.SocketOptions).SetReceiveOriginalDstAddress),
	{unix.IPPROTO_IP, unix.IP_RECVOPTS}:               toggle(0, nil),
	{unix.IPPROTO_IP, unix.IP_RETOPTS}:                toggle(0, nil),
	{unix.IPPROTO_IP, unix.IP_FREEBIND}:               toggle(0, nil),
	{unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT}:   toggle(0, nil),
	{unix.IPPROTO_IP, unix.IP_MTU_DISCOVER}:           {first: 1, max: 5},
	{unix.IPPROTO_IP, unix.IP_MULTICAST_TTL}:          {first: 1, max: 255, apply: integer(tcpip.MulticastTTLOption)},
	{unix.IPPROTO_IP, unix.IP_MULTICAST_LOOP}:         toggle(1, (*tcpip.SocketOptions).SetMulticastLoop),
	{unix.IPPROTO_IP, unix.IP_MULTICAST_ALL}:          toggle(1, nil),
	{unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS}:       {first: 64, min: -1, max: 255, apply: integer(tcpip.IPv6HopLimitOption)},
	{unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS}:     {first: 1, min: -1, max: 255, apply: integer(tcpip.MulticastTTLOption)},
	{unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_LOOP}:     toggle(1, (*tcpip.SocketOptions).SetMulticastLoop),
	{unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_IF}:       {max: math.MaxInt32},
	{unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER}:       {first: 1, max: 5},
	{unix.IPPROTO_IPV6, unix.IPV6_RECVERR}:            toggle(0, nil),
	{unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO}:        toggle(0, (*tcpip.SocketOptions).SetIPv6ReceivePacketInfo),
	{unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT}:       toggle(0, (*tcpip.SocketOptions).SetReceiveHopLimit),
	{unix.IPPROTO_IPV6, unix.IPV6_RECVTCLASS}:         toggle(0, (*tcpip.SocketOptions).SetReceiveTClass),
	{unix.IPPROTO_IPV6, unix.IPV6_TCLASS}:             {min: -1, max: 255, apply: func(e *endpoint, v int) tcpip.Error { return e.SetSockOptInt(tcpip.IPv6TrafficClassOption, max(v, 0)) }},
	{unix.IPPROTO_IPV6, unix.IPV6_DONTFRAG}:           toggle(0, nil),
	{unix.IPPROTO_IPV6, unix.IPV6_AUTOFLOWLABEL}:      toggle(1, nil),
	{unix.IPPROTO_IPV6, unix.IPV6_FREEBIND}:           toggle(0, nil),
	{unix.IPPROTO_TCP, unix.TCP_NODELAY}:              toggle(0, func(o *tcpip.SocketOptions, on bool) { o.SetDelayOption(!on) }),
	{unix.IPPROTO_TCP, unix.TCP_CORK}:                 toggle(0, (*tcpip.SocketOptions).SetCorkOption),
	{unix.IPPROTO_TCP, unix.TCP_QUICKACK}:             toggle(1, (*tcpip.SocketOptions).SetQuickAck),
	{unix.IPPROTO_TCP, unix.TCP_MAXSEG}:               {first: 536, min: 88, max: 32767, apply: integer(tcpip.MaxSegOption), read: maxSegment},
	{unix.IPPROTO_TCP, unix.TCP_KEEPCNT}:              {first: 9, min: 1, max: 127, apply: integer(tcpip.KeepaliveCountOption)},
	{unix.IPPROTO_TCP, unix.TCP_SYNCNT}:               {first: 6, min: 1, max: 127, apply: integer(tcpip.TCPSynCountOption)},
	{unix.IPPROTO_TCP, unix.TCP_LINGER2}:              {first: 60, min: math.MinInt32, max: math.MaxInt32},
	{unix.IPPROTO_TCP, unix.TCP_WINDOW_CLAMP}:         {max: math.MaxInt32},
	{unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT}:         {min: math.MinInt32, max: math.MaxInt32},
	{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT}:         {max: math.MaxInt32, apply: userTimeout},
	{unix.IPPROTO_TCP, unix.TCP_FASTOPEN}:             {max: math.MaxInt32},
	{unix.IPPROTO_TCP, unix.TCP_FASTOPEN_CONNECT}:     toggle(0, nil),
	{unix.IPPROTO_TCP, unix.TCP_THIN_LINEAR_TIMEOUTS}: toggle(0, nil),
	{unix.IPPROTO_TCP, unix.TCP_TIMESTAMP}:            toggle(0, nil),
	{unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT}:        {max: math.MaxInt32},
	{unix.IPPROTO_TCP, unix.TCP_SAVE_SYN}:             toggle(0, nil),
	{unix.IPPROTO_TCP, unix.TCP_INQ}:                  toggle(0, nil),
	{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE}: {first: 7200, min: 1, max: 32767, apply: seconds(func(e *endpoint, d time.Duration) tcpip.Error {
		o := tcpip.KeepaliveIdleOption(d)
		return e.SetSockOpt(&o)
	})},
	{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL}: {first: 75, min: 1, max: 32767, apply: seconds(func(e *endpoint, d time.Duration) tcpip.Error {
		o := tcpip.KeepaliveIntervalOption(d)
		return e.SetSockOpt(&o)
	})},
	{unix.IPPROTO_UDP, unix.UDP_CORK}:            toggle(0, nil),
	{unix.IPPROTO_UDP, unix.UDP_NO_CHECK6_TX}:    toggle(0, nil),
	{unix.IPPROTO_UDP, unix.UDP_NO_CHECK6_RX}:    toggle(0, nil),
	{unix.IPPROTO_RAW, 7 /* IPV6_CHECKSUM */}:    {first: -1, min: -1, max: 255, apply: integer(tcpip.IPv6Checksum)},
	{unix.IPPROTO_ICMPV6, 7 /* IPV6_CHECKSUM */}: {first: 2, min: -1, max: 255},
}

func maxSegment(_ *Socket, e *endpoint) (int, tcpip.Error) {
	return e.GetSockOptInt(tcpip.MaxSegOption)
}

func userTimeout(e *endpoint, v int) tcpip.Error {
	o := tcpip.TCPUserTimeoutOption(time.Duration(v) * time.Millisecond)
	return e.SetSockOpt(&o)
}

// has reports whether sockets of this kind know a level.
func (s *Socket) has(level int) bool {
	switch level {
	case unix.IPPROTO_IP:
		return true
	case unix.IPPROTO_IPV6:
		return s.Domain == unix.AF_INET6
	case unix.IPPROTO_TCP:
		return s.tcp()
	case unix.IPPROTO_UDP:
		return s.Type == unix.SOCK_DGRAM && s.Protocol == unix.IPPROTO_UDP
	}
	return s.Type == unix.SOCK_RAW
}

// SetOption implements socket.Socket.
func (s *Socket) SetOption(c vfs.Caller, level, name int, value []byte) error {
	if !s.has(level) {
		return unix.ENOPROTOOPT
	}
	o := option{level, name}
	switch o {
	case option{unix.IPPROTO_IPV6, unix.IPV6_V6ONLY}:
		return s.setV6Only(value)
	case option{unix.IPPROTO_TCP, unix.TCP_CONGESTION}:
		return s.setCongestion(value)
	case option{unix.IPPROTO_IP, unix.IP_MULTICAST_IF}, option{unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP}, option{unix.IPPROTO_IP, unix.IP_DROP_MEMBERSHIP},
		option{unix.IPPROTO_IPV6, unix.IPV6_ADD_MEMBERSHIP}, option{unix.IPPROTO_IPV6, unix.IPV6_DROP_MEMBERSHIP}:
		return s.setMembership(o, value)
	case option{unix.SOL_RAW, 1 /* ICMP_FILTER */}, option{unix.SOL_ICMPV6, 1 /* ICMPV6_FILTER */}:
		return s.setFilter(level, value)
	case option{unix.IPPROTO_IP, unix.IP_TRANSPARENT}:
		if !c.Creds().Effective.Has(unix.CAP_NET_ADMIN) && !c.Creds().Effective.Has(unix.CAP_NET_RAW) {
			return unix.EPERM
		}
		return unix.ENOPROTOOPT
	}
	sp, known := options[o]
	if !known {
		return unix.ENOPROTOOPT
	}
	var v int
	switch {
	case len(value) >= 4:
		v = int(int32(le.Uint32(value)))
	case len(value) >= 1 && level == unix.IPPROTO_IP: // which takes single bytes too
		v = int(value[0])
	default:
		return unix.EINVAL
	}
	switch {
	case o == option{unix.IPPROTO_IP, unix.IP_TTL} && v == -1:
		v = 64
	case o == option{unix.IPPROTO_IP, unix.IP_MULTICAST_TTL} && v == -1:
		v = 1
	case o == option{unix.IPPROTO_IP, unix.IP_TOS}:
		v &= 255
	case o == option{unix.IPPROTO_TCP, unix.TCP_MAXSEG} && v == 0:
	case sp.boolean:
		if level == unix.IPPROTO_IPV6 || level == unix.IPPROTO_IP || name != unix.TCP_QUICKACK {
			v = btoi(v != 0)
		}
	case v < sp.min || v > sp.max:
		return unix.EINVAL
	}
	if sp.apply != nil {
		if err := errno(sp.apply(s.ep(), v)); err != nil {
			return err
		}
	}
	s.store(o, v)
	return nil
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (s *Socket) store(o option, v int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.options == nil {
		s.options = make(map[option]int)
	}
	s.options[o] = v
}

func (s *Socket) copyOptions() map[option]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := make(map[option]int, len(s.options))
	for o, v := range s.options {
		c[o] = v
	}
	return c
}

// reapply sets all options that were set on a new endpoint.
func (s *Socket) reapply() error {
	for o, v := range s.copyOptions() {
		if sp := options[o]; sp.apply != nil {
			if err := errno(sp.apply(s.ep(), v)); err != nil {
				return err
			}
		}
	}
	for _, name := range followed {
		if err := s.Follow(name); err != nil {
			return err
		}
	}
	return nil
}

// copyEndpointOptions takes over what a dead endpoint was told and the socket does not keep.
func copyEndpointOptions(to, from *tcpip.SocketOptions) { to.SetV6Only(from.GetV6Only()) }

// Option implements socket.Socket.
func (s *Socket) Option(_ vfs.Caller, level, name, room int) ([]byte, error) {
	if !s.has(level) {
		return nil, unix.EOPNOTSUPP
	}
	e := s.ep()
	o := option{level, name}
	switch o {
	case option{unix.IPPROTO_IPV6, unix.IPV6_V6ONLY}:
		return socket.Int(btoi(e.SocketOptions().GetV6Only()), room), nil
	case option{unix.IPPROTO_TCP, unix.TCP_INFO}:
		b := s.info()
		return b[:min(room, len(b))], nil
	case option{unix.IPPROTO_TCP, unix.TCP_CONGESTION}:
		var cc tcpip.CongestionControlOption
		if err := e.GetSockOpt(&cc); err != nil {
			return nil, errno(err)
		}
		b := make([]byte, 16) // TCP_CA_NAME_MAX
		copy(b, cc)
		return b[:min(room, len(b))], nil
	case option{unix.IPPROTO_IP, unix.IP_MTU}, option{unix.IPPROTO_IPV6, unix.IPV6_MTU}:
		if _, err := e.GetRemoteAddress(); err != nil {
			return nil, unix.ENOTCONN
		}
		return socket.Int(loopbackMTU, room), nil
	case option{unix.IPPROTO_IP, unix.IP_MULTICAST_IF}:
		b := make([]byte, 4)
		var m tcpip.MulticastInterfaceOption
		if err := e.GetSockOpt(&m); err == nil {
			copy(b, m.InterfaceAddr.AsSlice())
		}
		return b[:min(room, len(b))], nil
	case option{unix.SOL_RAW, 1}, option{unix.SOL_ICMPV6, 1}:
		return s.filter(level, room)
	}
	sp, known := options[o]
	if !known {
		return nil, unix.ENOPROTOOPT
	}
	v := sp.first
	s.mu.Lock()
	if set, ok := s.options[o]; ok {
		v = set
	}
	s.mu.Unlock()
	switch {
	case sp.read != nil:
		var err tcpip.Error
		if v, err = sp.read(s, e); err != nil {
			return nil, errno(err)
		}
	case o == option{unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS} && v < 0:
		v = 64
	case o == option{unix.IPPROTO_IPV6, unix.IPV6_TCLASS} && v < 0:
		v = 0
	}
	// Level IP answers a single byte to who has no room for an int.
	if level == unix.IPPROTO_IP && room > 0 && room < 4 && v >= 0 && v <= 255 {
		return []byte{byte(v)}, nil
	}
	return socket.Int(v, room), nil
}

const loopbackMTU = 65536

// setV6Only is only possible before the socket has a port.
func (s *Socket) setV6Only(value []byte) error {
	v, err := socket.ToInt(value)
	if err != nil {
		return err
	}
	if s.tcp() && tcp.EndpointState(s.ep().State()) != tcp.StateInitial {
		return unix.EINVAL
	}
	s.mu.Lock()
	bound := s.bound != nil
	s.mu.Unlock()
	if bound {
		return unix.EINVAL
	}
	s.ep().SocketOptions().SetV6Only(v != 0)
	return nil
}

func (s *Socket) setCongestion(value []byte) error {
	for i, ch := range value {
		if ch == 0 {
			value = value[:i]
			break
		}
	}
	cc := tcpip.CongestionControlOption(value)
	return errno(s.ep().SetSockOpt(&cc))
}

// setMembership takes struct ip_mreq, ip_mreqn and ipv6_mreq.
func (s *Socket) setMembership(o option, value []byte) error {
	m := tcpip.MembershipOption{}
	if o.level == unix.IPPROTO_IPV6 {
		if len(value) < 20 {
			return unix.EINVAL
		}
		m.MulticastAddr, m.NIC = tcpip.AddrFrom16Slice(value[:16]), tcpip.NICID(le.Uint32(value[16:]))
		if !header.IsV6MulticastAddress(m.MulticastAddr) {
			return unix.EINVAL
		}
	} else {
		if o.name == unix.IP_MULTICAST_IF {
			i := tcpip.MulticastInterfaceOption{}
			switch {
			case len(value) >= 12:
				i.NIC = tcpip.NICID(le.Uint32(value[8:]))
				fallthrough
			case len(value) >= 8:
				i.InterfaceAddr = toStack(tcpip.FullAddress{Addr: tcpip.AddrFrom4Slice(value[4:8])}).Addr
			case len(value) >= 4:
				i.InterfaceAddr = toStack(tcpip.FullAddress{Addr: tcpip.AddrFrom4Slice(value[:4])}).Addr
			default:
				return unix.EINVAL
			}
			if err := errno(s.ep().SetSockOpt(&i)); err != nil {
				return unix.EADDRNOTAVAIL
			}
			return nil
		}
		if len(value) < 8 {
			return unix.EINVAL
		}
		m.MulticastAddr = tcpip.AddrFrom4Slice(value[:4])
		m.InterfaceAddr = toStack(tcpip.FullAddress{Addr: tcpip.AddrFrom4Slice(value[4:8])}).Addr
		if len(value) >= 12 {
			m.NIC = tcpip.NICID(le.Uint32(value[8:]))
		}
		if !header.IsV4MulticastAddress(m.MulticastAddr) {
			return unix.EINVAL
		}
	}
	if m.NIC == 0 && m.InterfaceAddr.Len() == 0 && !Routed(m.MulticastAddr) {
		return unix.ENODEV
	}
	if o.name == unix.IP_ADD_MEMBERSHIP && o.level == unix.IPPROTO_IP || o.name == unix.IPV6_ADD_MEMBERSHIP && o.level == unix.IPPROTO_IPV6 {
		add := tcpip.AddMembershipOption(m)
		err := errno(s.ep().SetSockOpt(&add))
		if err == unix.EINVAL || err == unix.EADDRINUSE {
			err = unix.EADDRINUSE
		}
		return err
	}
	remove := tcpip.RemoveMembershipOption(m)
	if err := errno(s.ep().SetSockOpt(&remove)); err != nil {
		return unix.EADDRNOTAVAIL
	}
	return nil
}

// Routed reports whether the stack has a route to an address.
func Routed(a tcpip.Address) bool {
	for _, r := range Stack().GetRouteTable() {
		if r.Destination.Contains(a) {
			return true
		}
	}
	return false
}

// followed are the socket-level options that endpoints have to know.
var followed = []int{unix.SO_REUSEADDR, unix.SO_REUSEPORT, unix.SO_KEEPALIVE, unix.SO_BROADCAST, unix.SO_LINGER, unix.SO_SNDBUF, unix.SO_RCVBUF, unix.SO_BINDTODEVICE}

// Follow implements socket.OptionFollower.
func (s *Socket) Follow(name int) error {
	o := s.ep().SocketOptions()
	switch name {
	case unix.SO_REUSEADDR:
		o.SetReuseAddress(s.Flag(name))
	case unix.SO_REUSEPORT:
		o.SetReusePort(s.Flag(name))
	case unix.SO_KEEPALIVE:
		o.SetKeepAlive(s.Flag(name))
	case unix.SO_BROADCAST:
		o.SetBroadcast(s.Flag(name))
	case unix.SO_NO_CHECK:
		o.SetNoChecksum(s.Flag(name))
	case unix.SO_LINGER:
		on, sec := s.Linger()
		o.SetLinger(tcpip.LingerOption{Enabled: on, Timeout: time.Duration(sec) * time.Second})
	case unix.SO_SNDBUF, unix.SO_SNDBUFFORCE:
		if set, _ := s.BuffersSet(); set {
			o.SetSendBufferSize(int64(s.SendBuffer()), true)
		}
	case unix.SO_RCVBUF, unix.SO_RCVBUFFORCE:
		if _, set := s.BuffersSet(); set {
			o.SetReceiveBufferSize(int64(s.ReceiveBuffer()), true)
		}
	case unix.SO_RCVLOWAT:
		return nil
	case unix.SO_BINDTODEVICE:
		id := tcpip.NICID(0)
		if d := s.Device(); d != "" {
			if id = NIC(d); id == 0 {
				return unix.ENODEV
			}
		}
		return errno(o.SetBindToDevice(int32(id)))
	}
	return nil
}

// info is struct tcp_info as far as the stack knows it.
func (s *Socket) info() []byte {
	b := make([]byte, 232)
	b[0] = byte(s.connState())
	var i tcpip.TCPInfoOption
	if err := s.ep().GetSockOpt(&i); err != nil {
		return b
	}
	b[5] = 7<<4 | 7 // window scales
	us := func(d time.Duration) uint32 { return uint32(d / time.Microsecond) }
	le.PutUint32(b[8:], us(i.RTO))
	le.PutUint32(b[12:], 40000) // ATO
	mss, _ := s.ep().GetSockOptInt(tcpip.MaxSegOption)
	le.PutUint32(b[16:], uint32(mss))
	le.PutUint32(b[20:], uint32(mss))
	le.PutUint32(b[60:], loopbackMTU)
	le.PutUint32(b[68:], us(i.RTT))
	le.PutUint32(b[72:], us(i.RTTVar))
	le.PutUint32(b[76:], i.SndSsthresh)
	le.PutUint32(b[80:], i.SndCwnd)
	le.PutUint32(b[84:], uint32(mss))
	le.PutUint32(b[88:], 3) // reordering
	return b
}
