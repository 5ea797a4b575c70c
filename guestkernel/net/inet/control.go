package inet

import (
	"sync/atomic"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"

	"ringo/guestkernel/net/socket"
	"ringo/guestkernel/vfs"
)

// sendable takes a control message of a send: what the stack cannot do is EINVAL, other levels are ignored (ip_cmsg_send).
func sendable(ctl socket.Control, out *tcpip.SendableControlMessages) error {
	value := func(low, high int) (uint8, error) {
		v := 0
		switch {
		case len(ctl.Data) >= 4:
			v = int(int32(le.Uint32(ctl.Data)))
		case len(ctl.Data) >= 1:
			v = int(ctl.Data[0])
		default:
			return 0, unix.EINVAL
		}
		if v < low || v > high {
			return 0, unix.EINVAL
		}
		return uint8(v), nil
	}
	var err error
	switch (option{ctl.Level, ctl.Type}) {
	case option{unix.IPPROTO_IP, unix.IP_TTL}:
		out.HasTTL = true
		out.TTL, err = value(1, 255)
	case option{unix.IPPROTO_IP, unix.IP_TOS}:
		_, err = value(0, 255)
	case option{unix.IPPROTO_IP, unix.IP_PKTINFO}: // struct in_pktinfo: the route is found by address
		if len(ctl.Data) != 12 {
			err = unix.EINVAL
		}
	case option{unix.IPPROTO_IPV6, unix.IPV6_HOPLIMIT}:
		out.HasHopLimit = true
		out.HopLimit, err = value(0, 255)
	case option{unix.IPPROTO_IPV6, unix.IPV6_TCLASS}:
		_, err = value(0, 255)
	case option{unix.IPPROTO_IPV6, unix.IPV6_PKTINFO}:
		if len(ctl.Data) < 20 {
			return unix.EINVAL
		}
		if a := tcpip.AddrFrom16Slice(ctl.Data[:16]); !a.Unspecified() {
			out.HasIPv6PacketInfo = true
			out.IPv6PacketInfo = tcpip.IPv6PacketInfo{Addr: a, NIC: tcpip.NICID(le.Uint32(ctl.Data[16:]))}
		}
	default:
		if ctl.Level == unix.IPPROTO_IP || ctl.Level == unix.IPPROTO_IPV6 {
			err = unix.EINVAL
		}
	}
	return err
}

// received is the control messages of a datagram, in Linux's order.
func (s *Socket) received(r tcpip.ReadResult) (out []socket.Control) {
	cm := &r.ControlMessages
	put := func(level, typ int, data []byte) {
		out = append(out, socket.Control{Level: level, Type: typ, Data: data})
	}
	word := func(v uint32) []byte { return le.AppendUint32(nil, v) }
	if cm.HasTimestamp {
		if s.Flag(unix.SO_TIMESTAMPNS) {
			put(unix.SOL_SOCKET, unix.SCM_TIMESTAMPNS, stampBytes(cm.Timestamp, 1))
		} else if s.Flag(unix.SO_TIMESTAMP) {
			put(unix.SOL_SOCKET, unix.SO_TIMESTAMP, stampBytes(cm.Timestamp, 1000))
		}
	}
	if cm.HasIPPacketInfo {
		b := word(uint32(cm.PacketInfo.NIC))
		b = append(b, cm.PacketInfo.LocalAddr.AsSlice()...)
		put(unix.IPPROTO_IP, unix.IP_PKTINFO, append(b, cm.PacketInfo.DestinationAddr.AsSlice()...))
	}
	if cm.HasTTL {
		put(unix.IPPROTO_IP, unix.IP_TTL, word(uint32(cm.TTL)))
	}
	if cm.HasTOS {
		put(unix.IPPROTO_IP, unix.IP_TOS, []byte{cm.TOS})
	}
	if cm.HasIPv6PacketInfo {
		a := cm.IPv6PacketInfo.Addr
		if a.Len() == 4 {
			a = mapped(a)
		}
		put(unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, append(append([]byte(nil), a.AsSlice()...), word(uint32(cm.IPv6PacketInfo.NIC))...))
	}
	if cm.HasHopLimit {
		put(unix.IPPROTO_IPV6, unix.IPV6_HOPLIMIT, word(uint32(cm.HopLimit)))
	}
	if cm.HasTClass {
		put(unix.IPPROTO_IPV6, unix.IPV6_TCLASS, word(cm.TClass))
	}
	if cm.HasOriginalDstAddress {
		put(unix.IPPROTO_IP, unix.IP_RECVORIGDSTADDR, sockaddr(unix.AF_INET, cm.OriginalDstAddress))
	}
	return out
}

// PingGroups are the groups whose members may open ICMP datagram sockets: first in the high half, last in the low one. At first there are
// none (/proc/sys/net/ipv4/ping_group_range).
var PingGroups atomic.Uint64

func init() { PingGroups.Store(1 << 32) }

func mayPing(c vfs.Caller) bool {
	r := PingGroups.Load()
	low, high := uint32(r>>32), uint32(r)
	cr := c.Creds()
	for _, g := range append([]uint32{cr.EGID}, cr.Groups...) {
		if low <= g && g <= high {
			return true
		}
	}
	return false
}

// setFilter is ICMP_FILTER and ICMPV6_FILTER.
func (s *Socket) setFilter(level int, value []byte) error {
	size := 4
	if level == unix.SOL_ICMPV6 {
		size = 32
	}
	if level == unix.SOL_RAW && s.Protocol != unix.IPPROTO_ICMP || level == unix.SOL_ICMPV6 && s.Protocol != unix.IPPROTO_ICMPV6 {
		return unix.EOPNOTSUPP
	}
	f := make([]byte, size)
	copy(f, value)
	if level == unix.SOL_ICMPV6 {
		var deny tcpip.ICMPv6Filter
		for i := range deny.DenyType {
			deny.DenyType[i] = le.Uint32(f[4*i:])
		}
		if err := errno(s.ep().SetSockOpt(&deny)); err != nil {
			return err
		}
	}
	s.mu.Lock()
	s.icmpFilter = f
	s.mu.Unlock()
	return nil
}

func (s *Socket) filter(level, room int) ([]byte, error) {
	size := 4
	if level == unix.SOL_ICMPV6 {
		size = 32
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f := make([]byte, size)
	copy(f, s.icmpFilter)
	return f[:min(room, size)], nil
}
