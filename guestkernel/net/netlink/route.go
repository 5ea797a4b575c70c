package netlink

import (
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"ringo/guestkernel/net/inet"
	"ringo/guestkernel/vfs"
)

// Sizes, in bytes: struct nlmsghdr {len, type, flags, seq, pid}, and the fixed parts of the messages behind it.
const (
	headerSize = 16
	linkSize   = 16 // struct ifinfomsg
	addrSize   = 8  // struct ifaddrmsg
	routeSize  = 12 // struct rtmsg
)

func align(n int) int { return (n + 3) &^ 3 }

// builder makes the messages of one answer.
type builder struct {
	b         []byte
	seq, port uint32
	start     int
}

// begin starts a message with a fixed part of size bytes, which it answers.
func (m *builder) begin(typ, flags uint16, size int) []byte {
	m.start = len(m.b)
	m.b = append(m.b, make([]byte, headerSize+size)...)
	h := m.b[m.start:]
	le.PutUint16(h[4:], typ)
	le.PutUint16(h[6:], flags)
	le.PutUint32(h[8:], m.seq)
	le.PutUint32(h[12:], m.port)
	return h[headerSize:]
}

func (m *builder) attr(typ uint16, data []byte) {
	m.b = le.AppendUint16(m.b, uint16(4+len(data)))
	m.b = le.AppendUint16(m.b, typ)
	m.b = append(m.b, data...)
	for len(m.b)%4 != 0 {
		m.b = append(m.b, 0)
	}
}

func (m *builder) word(typ uint16, v uint32) { m.attr(typ, le.AppendUint32(nil, v)) }
func (m *builder) text(typ uint16, v string) { m.attr(typ, append([]byte(v), 0)) }
func (m *builder) end()                      { le.PutUint32(m.b[m.start:], uint32(len(m.b)-m.start)) }
func (m *builder) octet(typ uint16, v byte)  { m.attr(typ, []byte{v}) }
func addressBytes(a tcpip.Address) []byte    { return append([]byte(nil), a.AsSlice()...) }
func familyOf(p tcpip.NetworkProtocolNumber) int {
	if p == header.IPv6ProtocolNumber {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

// serve answers one request.
func (s *Socket) serve(c vfs.Caller, port uint32, req []byte) {
	typ, flags := le.Uint16(req[4:]), le.Uint16(req[6:])
	if flags&unix.NLM_F_REQUEST == 0 || typ < 16 { // NLMSG_MIN_TYPE: control messages are not answered
		if flags&unix.NLM_F_ACK != 0 {
			s.acknowledge(port, req, nil)
		}
		return
	}
	m := &builder{seq: le.Uint32(req[8:]), port: port}
	dump := flags&unix.NLM_F_DUMP == unix.NLM_F_DUMP
	err := s.request(c, m, typ, dump, req)
	if err == nil && len(m.b) > 0 {
		s.put(m.b)
	}
	switch {
	case err == nil && dump:
		done := &builder{seq: m.seq, port: port}
		done.begin(unix.NLMSG_DONE, unix.NLM_F_MULTI, 4)
		done.end()
		s.put(done.b)
	case err != nil || flags&unix.NLM_F_ACK != 0:
		s.acknowledge(port, req, err)
	}
}

// acknowledge answers struct nlmsgerr: the error and the request it is about.
func (s *Socket) acknowledge(port uint32, req []byte, err error) {
	m := &builder{seq: le.Uint32(req[8:]), port: port}
	s.mu.Lock()
	capped := s.options[unix.NETLINK_CAP_ACK] != 0
	s.mu.Unlock()
	body := req
	flags := uint16(0)
	if err == nil || capped {
		body, flags = req[:headerSize], 0x100 // NLM_F_CAPPED
	}
	e := m.begin(unix.NLMSG_ERROR, flags, 4)
	if errno, ok := err.(unix.Errno); ok {
		le.PutUint32(e, uint32(-int32(errno)))
	}
	m.b = append(m.b, body...)
	m.end()
	s.put(m.b)
}

func (s *Socket) request(c vfs.Caller, m *builder, typ uint16, dump bool, req []byte) error {
	body := req[headerSize:]
	flags := uint16(0)
	if dump {
		flags = unix.NLM_F_MULTI
	}
	family := 0
	if len(body) > 0 {
		family = int(body[0])
	}
	if typ > unix.RTM_GETSTATS+32 {
		return unix.EOPNOTSUPP
	}
	if typ&3 != 2 && !c.Creds().Effective.Has(unix.CAP_NET_ADMIN) { // all but RTM_GET*
		return unix.EPERM
	}
	switch typ {
	case unix.RTM_GETLINK:
		return links(m, flags, dump, body)
	case unix.RTM_GETADDR:
		if !dump {
			return unix.EOPNOTSUPP
		}
		addresses(m, flags, family)
		return nil
	case unix.RTM_GETROUTE:
		if !dump {
			return routeTo(m, body)
		}
		routes(m, flags, family)
		return nil
	case unix.RTM_GETNEIGH, unix.RTM_GETRULE, unix.RTM_GETQDISC:
		if !dump {
			return unix.EOPNOTSUPP
		}
		return nil // there are none
	case unix.RTM_NEWLINK:
		return setLink(body)
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		return changeAddress(typ == unix.RTM_NEWADDR, body)
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		return changeRoute(typ == unix.RTM_NEWROUTE, body)
	}
	return unix.EOPNOTSUPP
}

// attributes splits the attributes behind a message's fixed part.
func attributes(b []byte, fixed int) map[uint16][]byte {
	out := make(map[uint16][]byte)
	for b = b[min(align(fixed), len(b)):]; len(b) >= 4; {
		n := int(le.Uint16(b))
		if n < 4 || n > len(b) {
			break
		}
		out[le.Uint16(b[2:])&0x3fff] = b[4:n]
		b = b[min(align(n), len(b)):]
	}
	return out
}

func trimmed(b []byte) string {
	for i, ch := range b {
		if ch == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

// chosen answers the interface that a link request names: by index or IFLA_IFNAME.
func chosen(body []byte) (*inet.Interface, error) {
	if len(body) < linkSize {
		return nil, unix.EINVAL
	}
	index := int(int32(le.Uint32(body[4:])))
	name := trimmed(attributes(body, linkSize)[unix.IFLA_IFNAME])
	if index == 0 && name == "" {
		return nil, unix.EINVAL
	}
	for _, i := range inet.Interfaces() {
		if i.Index == index || index == 0 && i.Name == name {
			return &i, nil
		}
	}
	return nil, unix.ENODEV
}

func links(m *builder, flags uint16, dump bool, body []byte) error {
	list := inet.Interfaces()
	if !dump {
		i, err := chosen(body)
		if err != nil {
			return err
		}
		list = []inet.Interface{*i}
	}
	for _, i := range list {
		f := m.begin(unix.RTM_NEWLINK, flags, linkSize)
		le.PutUint16(f[2:], uint16(i.HardwareType()))
		le.PutUint32(f[4:], uint32(i.Index))
		fl := uint32(i.Flags())
		up := fl&unix.IFF_UP != 0
		if up {
			fl |= unix.IFF_LOWER_UP
		}
		le.PutUint32(f[8:], fl)
		m.text(unix.IFLA_IFNAME, i.Name)
		m.word(unix.IFLA_TXQLEN, 1000)
		state := byte(6) // IF_OPER_UP
		switch {
		case !up:
			state = 2
		case i.Loopback():
			state = 0 // unknown, as Linux says of the loopback
		}
		m.octet(unix.IFLA_OPERSTATE, state)
		m.octet(unix.IFLA_LINKMODE, 0)
		m.word(unix.IFLA_MTU, i.MTU)
		m.word(unix.IFLA_GROUP, 0)
		m.word(unix.IFLA_PROMISCUITY, 0)
		m.word(unix.IFLA_NUM_TX_QUEUES, 1)
		m.word(unix.IFLA_NUM_RX_QUEUES, 1)
		m.octet(unix.IFLA_CARRIER, 1)
		qdisc := "pfifo_fast"
		if i.Loopback() {
			qdisc = "noqueue"
		}
		m.text(unix.IFLA_QDISC, qdisc)
		mac := make([]byte, 6)
		copy(mac, i.LinkAddress)
		m.attr(unix.IFLA_ADDRESS, mac)
		broadcast := make([]byte, 6)
		if !i.Loopback() {
			for k := range broadcast {
				broadcast[k] = 0xff
			}
		}
		m.attr(unix.IFLA_BROADCAST, broadcast)
		m.attr(unix.IFLA_STATS64, statistics(&i, 8, 24))
		m.attr(unix.IFLA_STATS, statistics(&i, 4, 23))
		m.end()
	}
	return nil
}

// statistics is struct rtnl_link_stats or its 64-bit form: packets and bytes received and sent come first.
func statistics(i *inet.Interface, width, count int) []byte {
	b := make([]byte, width*count)
	for k, v := range []uint64{i.Stats.Rx.Packets.Value(), i.Stats.Tx.Packets.Value(), i.Stats.Rx.Bytes.Value(), i.Stats.Tx.Bytes.Value()} {
		if width == 8 {
			le.PutUint64(b[8*k:], v)
		} else {
			le.PutUint32(b[4*k:], uint32(v))
		}
	}
	return b
}

// scope is RT_SCOPE_*: an address of the host alone, of the link, or of the world.
func scope(a tcpip.Address) byte {
	switch {
	case a.Len() == 4 && header.IsV4LoopbackAddress(a), a == header.IPv6Loopback:
		return unix.RT_SCOPE_HOST
	case header.IsV6LinkLocalUnicastAddress(a):
		return unix.RT_SCOPE_LINK
	}
	return unix.RT_SCOPE_UNIVERSE
}

func addresses(m *builder, flags uint16, family int) {
	for _, pass := range []int{unix.AF_INET, unix.AF_INET6} {
		if family != unix.AF_UNSPEC && family != pass {
			continue
		}
		for _, i := range inet.Interfaces() {
			for _, p := range i.ProtocolAddresses {
				if p.Protocol != header.IPv4ProtocolNumber && p.Protocol != header.IPv6ProtocolNumber || familyOf(p.Protocol) != pass {
					continue
				}
				a := p.AddressWithPrefix
				f := m.begin(unix.RTM_NEWADDR, flags, addrSize)
				f[0], f[1], f[2], f[3] = byte(pass), byte(a.PrefixLen), unix.IFA_F_PERMANENT, scope(a.Address)
				le.PutUint32(f[4:], uint32(i.Index))
				m.attr(unix.IFA_ADDRESS, addressBytes(a.Address))
				if pass == unix.AF_INET {
					m.attr(unix.IFA_LOCAL, addressBytes(a.Address))
					if !i.Loopback() {
						net := a.Subnet()
						m.attr(unix.IFA_BROADCAST, addressBytes(net.Broadcast()))
					}
					m.text(unix.IFA_LABEL, i.Name)
				}
				m.word(unix.IFA_FLAGS, unix.IFA_F_PERMANENT)
				forever := make([]byte, 16)
				le.PutUint64(forever, ^uint64(0))
				m.attr(unix.IFA_CACHEINFO, forever)
				m.end()
			}
		}
	}
}

func route(m *builder, flags uint16, r tcpip.Route) {
	dst := r.Destination.ID()
	family, table := unix.AF_INET, byte(unix.RT_TABLE_MAIN)
	if dst.Len() == 16 {
		family = unix.AF_INET6
	}
	kind := byte(unix.RTN_UNICAST)
	if r.NIC == inet.LoopbackNIC {
		table, kind = unix.RT_TABLE_LOCAL, unix.RTN_LOCAL
	}
	f := m.begin(unix.RTM_NEWROUTE, flags, routeSize)
	f[0], f[1], f[4], f[5], f[6], f[7] = byte(family), byte(r.Destination.Prefix()), table, unix.RTPROT_KERNEL, scope(dst), kind
	m.word(unix.RTA_TABLE, uint32(table))
	if r.Destination.Prefix() > 0 {
		m.attr(unix.RTA_DST, addressBytes(dst))
	}
	if r.Gateway.Len() > 0 {
		m.attr(unix.RTA_GATEWAY, addressBytes(r.Gateway))
	} else if kind == unix.RTN_UNICAST {
		f[6] = unix.RT_SCOPE_LINK
	}
	m.word(unix.RTA_OIF, uint32(r.NIC))
	m.end()
}

func routes(m *builder, flags uint16, family int) {
	for _, r := range inet.Stack().GetRouteTable() {
		id := r.Destination.ID()
		if family == unix.AF_INET && id.Len() != 4 || family == unix.AF_INET6 && id.Len() != 16 {
			continue
		}
		route(m, flags, r)
	}
}

// routeTo answers which route an address takes.
func routeTo(m *builder, body []byte) error {
	if len(body) < routeSize {
		return unix.EINVAL
	}
	dst := attributes(body, routeSize)[unix.RTA_DST]
	if len(dst) != 4 && len(dst) != 16 {
		return unix.EINVAL
	}
	a := tcpip.AddrFromSlice(dst)
	for _, r := range inet.Stack().GetRouteTable() {
		if r.Destination.Contains(a) {
			r.Destination = tcpip.AddressWithPrefix{Address: a, PrefixLen: 8 * a.Len()}.Subnet()
			route(m, 0, r)
			return nil
		}
	}
	return unix.ENETUNREACH
}

// setLink turns a device on or off: nothing else of it can be changed.
func setLink(body []byte) error {
	i, err := chosen(body)
	if err != nil {
		return err
	}
	if le.Uint32(body[12:])&unix.IFF_UP == 0 {
		return nil
	}
	return i.SetUp(le.Uint32(body[8:])&unix.IFF_UP != 0)
}

func changeAddress(add bool, body []byte) error {
	if len(body) < addrSize {
		return unix.EINVAL
	}
	attrs := attributes(body, addrSize)
	b := attrs[unix.IFA_LOCAL]
	if b == nil {
		b = attrs[unix.IFA_ADDRESS]
	}
	size, protocol := 4, tcpip.NetworkProtocolNumber(header.IPv4ProtocolNumber)
	if body[0] == unix.AF_INET6 {
		size, protocol = 16, header.IPv6ProtocolNumber
	}
	if len(b) != size || int(body[1]) > 8*size {
		return unix.EINVAL
	}
	return inet.ChangeAddress(add, int(le.Uint32(body[4:])), tcpip.ProtocolAddress{
		Protocol: protocol, AddressWithPrefix: tcpip.AddressWithPrefix{Address: tcpip.AddrFromSlice(b), PrefixLen: int(body[1])},
	})
}

func changeRoute(add bool, body []byte) error {
	if len(body) < routeSize {
		return unix.EINVAL
	}
	attrs := attributes(body, routeSize)
	size := 4
	if body[0] == unix.AF_INET6 {
		size = 16
	}
	dst := make([]byte, size)
	if b := attrs[unix.RTA_DST]; b != nil {
		if len(b) != size {
			return unix.EINVAL
		}
		copy(dst, b)
	}
	if int(body[1]) > 8*size {
		return unix.EINVAL
	}
	r := tcpip.Route{Destination: tcpip.AddressWithPrefix{Address: tcpip.AddrFromSlice(dst), PrefixLen: int(body[1])}.Subnet()}
	if b := attrs[unix.RTA_GATEWAY]; len(b) == size {
		r.Gateway = tcpip.AddrFromSlice(b)
	}
	if b := attrs[unix.RTA_OIF]; len(b) == 4 {
		r.NIC = tcpip.NICID(le.Uint32(b))
	}
	return inet.ChangeRoute(add, r)
}
