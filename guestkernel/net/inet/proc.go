package inet

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// open lists the sockets of a kind in the order they were made.
func list(domain, typ, protocol int) []*Socket {
	all.Lock()
	var out []*Socket
	for s := range all.sockets {
		if s.Domain == domain && s.Type == typ && (protocol == 0 || s.Protocol == protocol) {
			out = append(out, s)
		}
	}
	all.Unlock()
	slices.SortFunc(out, func(a, b *Socket) int { return cmp.Compare(a.number, b.number) })
	return out
}

// hexAddress is an address in the notation of /proc/net/tcp: words of four bytes in host order, and the port.
func hexAddress(domain int, a tcpip.FullAddress) string {
	b := sockaddr(domain, a)
	raw := b[4:8]
	if domain == unix.AF_INET6 {
		raw = b[8:24]
	}
	var out bytes.Buffer
	for ; len(raw) > 0; raw = raw[4:] {
		fmt.Fprintf(&out, "%08X", le.Uint32(raw))
	}
	fmt.Fprintf(&out, ":%04X", a.Port)
	return out.String()
}

// ProcSockets is /proc/net/tcp, udp, raw and the ones for IPv6.
func ProcSockets(domain, typ, protocol int) []byte {
	var b bytes.Buffer
	width := 0
	switch {
	case domain == unix.AF_INET6 && typ == unix.SOCK_STREAM:
		b.WriteString("  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n")
	case domain == unix.AF_INET6:
		b.WriteString("  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n")
	case typ == unix.SOCK_STREAM:
		width = 149
		fmt.Fprintf(&b, "%-149s\n", "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode")
	default:
		width = 127
		fmt.Fprintf(&b, "%-127s\n", "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops")
	}
	n := 0
	for _, s := range list(domain, typ, protocol) {
		e := s.ep()
		local, err := e.GetLocalAddress()
		if err != nil || local.Port == 0 && typ != unix.SOCK_RAW {
			continue // not bound
		}
		remote, err := e.GetRemoteAddress()
		if err != nil {
			remote = tcpip.FullAddress{}
		}
		if typ == unix.SOCK_RAW {
			local.Port = uint16(s.Protocol)
		}
		out, err := e.GetSockOptInt(tcpip.SendQueueSizeOption)
		if err != nil {
			out = 0
		}
		in := 0
		if !s.Listening() {
			in = s.unread()
		}
		line := fmt.Sprintf("%4d: %s %s %02X %08X:%08X %02X:%08X %08X %5d %8d %d %d %016x", n, hexAddress(domain, local), hexAddress(domain, remote), s.connState(),
			out, in, 0, 0, 0, s.owner, 0, s.Ino(), 2, 0)
		if typ != unix.SOCK_STREAM {
			line += " 0"
		}
		fmt.Fprintf(&b, "%-*s\n", width, line)
		n++
	}
	return b.Bytes()
}

// ProcDev is /proc/net/dev.
func ProcDev() []byte {
	var b bytes.Buffer
	b.WriteString("Inter-|   Receive                                                |  Transmit\n")
	b.WriteString(" face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n")
	for _, i := range Interfaces() {
		rx, tx := i.Stats.Rx, i.Stats.Tx
		fmt.Fprintf(&b, "%6s: %7d %7d    0    0    0     0          0         0 %8d %7d    0    0    0     0       0          0\n",
			i.Name, rx.Bytes.Value(), rx.Packets.Value(), tx.Bytes.Value(), tx.Packets.Value())
	}
	return b.Bytes()
}

// ProcIfInet6 is /proc/net/if_inet6.
func ProcIfInet6() []byte {
	var b bytes.Buffer
	for _, i := range Interfaces() {
		for _, a := range i.ProtocolAddresses {
			if a.Protocol != header.IPv6ProtocolNumber {
				continue
			}
			addr := a.AddressWithPrefix.Address
			scope := 0
			switch {
			case addr == header.IPv6Loopback:
				scope = 0x10
			case header.IsV6LinkLocalUnicastAddress(addr):
				scope = 0x20
			}
			fmt.Fprintf(&b, "%x %02x %02x %02x %02x %8s\n", addr.AsSlice(), i.Index, a.AddressWithPrefix.PrefixLen, scope, 0x80, i.Name)
		}
	}
	return b.Bytes()
}

// ProcRoute is /proc/net/route: the IPv4 routes but those to the machine itself.
func ProcRoute() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%-127s\n", "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT")
	names := make(map[tcpip.NICID]string)
	for _, i := range Interfaces() {
		names[tcpip.NICID(i.Index)] = i.Name
	}
	for _, r := range Stack().GetRouteTable() {
		id := r.Destination.ID()
		if id.Len() != 4 || r.NIC == LoopbackNIC {
			continue
		}
		flags, gateway, m := 1, uint32(0), r.Destination.Mask()
		if r.Gateway.Len() == 4 {
			flags |= 2
			gateway = le.Uint32(r.Gateway.AsSlice())
		}
		line := fmt.Sprintf("%s\t%08X\t%08X\t%04X\t%d\t%d\t%d\t%08X\t%d\t%d\t%d", names[r.NIC], le.Uint32(id.AsSlice()), gateway, flags, 0, 0, 0, le.Uint32(m.AsSlice()), 0, 0, 0)
		fmt.Fprintf(&b, "%-127s\n", line)
	}
	return b.Bytes()
}
