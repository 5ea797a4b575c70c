package inet

import (
	"bytes"
	"cmp"
	"slices"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"ringo/guestkernel/net/socket"
	"ringo/guestkernel/vfs"
)

// Interface is a network device as programs see it.
type Interface struct {
	Index int
	stack.NICInfo
}

// Interfaces lists the devices by index.
func Interfaces() []Interface {
	var list []Interface
	for id, info := range Stack().NICInfo() {
		list = append(list, Interface{int(id), info})
	}
	slices.SortFunc(list, func(a, b Interface) int { return cmp.Compare(a.Index, b.Index) })
	return list
}

// NIC answers the device of a name; 0 when there is none.
func NIC(name string) tcpip.NICID {
	if i := find(name); i != nil {
		return tcpip.NICID(i.Index)
	}
	return 0
}

func find(name string) *Interface {
	for _, i := range Interfaces() {
		if i.Name == name {
			return &i
		}
	}
	return nil
}

func init() {
	socket.DeviceExists = func(name string) bool { return find(name) != nil }
	socket.Interfaces = configure
}

// Loopback reports the loopback device.
func (i *Interface) Loopback() bool { return i.NICInfo.Flags.Loopback }

// Flags are the device's IFF_*.
func (i *Interface) Flags() int {
	f := 0
	if i.NICInfo.Flags.Up {
		f |= unix.IFF_UP
	}
	if i.NICInfo.Flags.Running {
		f |= unix.IFF_RUNNING
	}
	if i.Loopback() {
		return f | unix.IFF_LOOPBACK
	}
	return f | unix.IFF_BROADCAST | unix.IFF_MULTICAST
}

// HardwareType is the device's ARPHRD_*.
func (i *Interface) HardwareType() int {
	if i.Loopback() {
		return unix.ARPHRD_LOOPBACK
	}
	return unix.ARPHRD_ETHER
}

// Addresses4 lists the IPv4 addresses.
func (i *Interface) Addresses4() (out []tcpip.AddressWithPrefix) {
	for _, a := range i.ProtocolAddresses {
		if a.Protocol == header.IPv4ProtocolNumber {
			out = append(out, a.AddressWithPrefix)
		}
	}
	return out
}

// Layout of struct ifreq, in bytes.
const (
	ifreqSize = 40
	ifrUnion  = unix.IFNAMSIZ
)

// Ioctl implements socket.Socket.
func (s *Socket) Ioctl(c vfs.Caller, cmd uint32, arg uint64) (uint64, error) {
	switch cmd {
	case unix.SIOCINQ:
		if s.Listening() {
			return 0, unix.EINVAL
		}
		return 0, vfs.PutInt32(c, arg, int32(s.unread()))
	case unix.SIOCOUTQ:
		if s.Listening() {
			return 0, unix.EINVAL
		}
		n, err := s.ep().GetSockOptInt(tcpip.SendQueueSizeOption)
		if err != nil {
			n = 0
		}
		return 0, vfs.PutInt32(c, arg, int32(n))
	case unix.SIOCATMARK:
		return 0, vfs.PutInt32(c, arg, 0)
	case 0x8906, 0x8907: // SIOCGSTAMP, SIOCGSTAMPNS
		return 0, s.lastStamp(c, cmd, arg)
	}
	return 0, unix.ENOTTY
}

// unread is how many bytes can be read: of a datagram socket, of the next one.
func (s *Socket) unread() int {
	n, err := s.ep().GetSockOptInt(tcpip.ReceiveQueueSizeOption)
	if err != nil {
		return 0
	}
	return n
}

func (s *Socket) lastStamp(c vfs.Caller, cmd uint32, arg uint64) error {
	s.mu.Lock()
	ns := s.stamp
	s.mu.Unlock()
	if ns == 0 {
		return unix.ENOENT
	}
	unit := int64(1)
	if cmd == 0x8906 {
		unit = 1000
	}
	b := le.AppendUint64(nil, uint64(ns/1e9))
	return c.CopyOutUser(arg, le.AppendUint64(b, uint64(ns%1e9/unit)))
}

// interfaceList is SIOCGIFCONF: struct ifconf {int len; struct ifreq *req}.
func interfaceList(c vfs.Caller, arg uint64) error {
	var conf [16]byte
	if err := c.CopyInUser(arg, conf[:]); err != nil {
		return err
	}
	room, at := int(int32(le.Uint32(conf[:]))), le.Uint64(conf[8:])
	var out []byte
	for _, i := range Interfaces() {
		for _, a := range i.Addresses4() {
			req := make([]byte, ifreqSize)
			copy(req[:unix.IFNAMSIZ-1], i.Name)
			copy(req[ifrUnion:], sockaddr(unix.AF_INET, tcpip.FullAddress{Addr: a.Address}))
			out = append(out, req...)
		}
	}
	if at != 0 {
		if room < 0 {
			return unix.EINVAL
		}
		out = out[:min(len(out), room/ifreqSize*ifreqSize)]
		if err := c.CopyOutUser(at, out); err != nil {
			return err
		}
	}
	le.PutUint32(conf[:], uint32(len(out)))
	return c.CopyOutUser(arg, conf[:])
}

// configure serves the requests of netdevice(7), most of which have a struct ifreq.
func configure(c vfs.Caller, cmd uint32, arg uint64) error {
	if cmd == unix.SIOCGIFCONF {
		return interfaceList(c, arg)
	}
	var req [ifreqSize]byte
	if err := c.CopyInUser(arg, req[:]); err != nil {
		return err
	}
	if cmd == unix.SIOCGIFNAME {
		index := int(int32(le.Uint32(req[ifrUnion:])))
		for _, i := range Interfaces() {
			if i.Index == index {
				clear(req[:ifrUnion])
				copy(req[:unix.IFNAMSIZ-1], i.Name)
				return c.CopyOutUser(arg, req[:])
			}
		}
		return unix.ENODEV
	}
	name := req[:unix.IFNAMSIZ]
	if n := bytes.IndexByte(name, 0); n >= 0 {
		name = name[:n]
	}
	i := find(string(name))
	if i == nil {
		return unix.ENODEV
	}
	var first tcpip.AddressWithPrefix
	if list := i.Addresses4(); len(list) > 0 {
		first = list[0]
	}
	out := req[ifrUnion:]
	address := func(a tcpip.Address) error {
		if first.Address.Len() == 0 {
			return unix.EADDRNOTAVAIL
		}
		clear(out[:16])
		copy(out, sockaddr(unix.AF_INET, tcpip.FullAddress{Addr: a}))
		return nil
	}
	word := func(v int) error { le.PutUint32(out, uint32(v)); return nil }
	var err error
	switch cmd {
	case unix.SIOCGIFFLAGS:
		le.PutUint16(out, uint16(i.Flags()))
	case unix.SIOCGIFINDEX:
		err = word(i.Index)
	case unix.SIOCGIFMTU:
		err = word(int(i.MTU))
	case unix.SIOCGIFMETRIC:
		err = word(0)
	case unix.SIOCGIFTXQLEN:
		err = word(1000)
	case unix.SIOCGIFADDR:
		err = address(first.Address)
	case unix.SIOCGIFBRDADDR:
		s := first.Subnet()
		if i.Loopback() {
			err = address(tcpip.AddrFrom4([4]byte{}))
		} else {
			err = address(s.Broadcast())
		}
	case unix.SIOCGIFDSTADDR:
		err = address(first.Address)
	case unix.SIOCGIFNETMASK:
		s := first.Subnet()
		m := s.Mask()
		err = address(tcpip.AddrFrom4Slice(append(m.AsSlice(), 0, 0, 0, 0)[:4]))
	case unix.SIOCGIFHWADDR:
		clear(out[:16])
		le.PutUint16(out, uint16(i.HardwareType()))
		copy(out[2:8], i.LinkAddress)
	case unix.SIOCSIFFLAGS:
		return i.setFlags(c, int(le.Uint16(out)))
	default:
		if cmd >= 0x8910 && cmd <= 0x8940 && !c.Creds().Effective.Has(unix.CAP_NET_ADMIN) {
			return unix.EPERM
		}
		return unix.EOPNOTSUPP
	}
	if err != nil {
		return err
	}
	return c.CopyOutUser(arg, req[:])
}

// setFlags turns a device on or off (IFF_UP).
func (i *Interface) setFlags(c vfs.Caller, flags int) error {
	if !c.Creds().Effective.Has(unix.CAP_NET_ADMIN) {
		return unix.EPERM
	}
	return i.SetUp(flags&unix.IFF_UP != 0)
}

// SetUp turns the device on or off.
func (i *Interface) SetUp(up bool) error {
	if up == i.NICInfo.Flags.Up {
		return nil
	}
	if up {
		return errno(Stack().EnableNIC(tcpip.NICID(i.Index)))
	}
	return errno(Stack().DisableNIC(tcpip.NICID(i.Index)))
}
