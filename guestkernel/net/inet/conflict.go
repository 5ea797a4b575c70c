package inet

import (
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// claim is the local addresses of a socket: in each family none, one, or all (the zero address).
type claim struct {
	has4, has6   bool
	addr4, addr6 tcpip.Address
}

func (s *Socket) claims(a tcpip.Address) (c claim) {
	switch {
	case a.Len() == 16 && header.IsV4MappedAddress(a):
		b := a.As16()
		a = tcpip.AddrFrom4([4]byte(b[12:]))
		fallthrough
	case a.Len() == 4:
		c.has4 = true
		if !a.Unspecified() {
			c.addr4 = a
		}
	case a.Len() == 16 && !a.Unspecified():
		c.has6, c.addr6 = true, a
	default: // all of them
		c.has4 = s.Domain == unix.AF_INET || !s.ep().SocketOptions().GetV6Only()
		c.has6 = s.Domain == unix.AF_INET6
	}
	return c
}

func (c claim) overlaps(o claim) bool {
	meet := func(a, b tcpip.Address) bool { return a.Len() == 0 || b.Len() == 0 || a == b }
	return c.has4 && o.has4 && meet(c.addr4, o.addr4) || c.has6 && o.has6 && meet(c.addr6, o.addr6)
}

// listened reports whether another socket listens where s wants to: the stack's own check knows only equal addresses.
func (s *Socket) listened(a tcpip.FullAddress) bool {
	if a.Port == 0 {
		return false
	}
	mine := s.claims(a.Addr)
	for _, domain := range []int{unix.AF_INET, unix.AF_INET6} {
		for _, o := range list(domain, unix.SOCK_STREAM, 0) {
			if o == s || !o.Listening() || s.Flag(unix.SO_REUSEPORT) && o.Flag(unix.SO_REUSEPORT) && s.owner == o.owner {
				continue
			}
			at, err := o.ep().GetLocalAddress()
			if err == nil && at.Port == a.Port && o.claims(at.Addr).overlaps(mine) {
				return true
			}
		}
	}
	return false
}
