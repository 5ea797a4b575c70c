package inet

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

var (
	le = binary.LittleEndian
	be = binary.BigEndian

	loopback4 = tcpip.AddrFrom4([4]byte{127, 0, 0, 1})
)

// Sizes of socket addresses, in bytes. Linux takes a sockaddr_in6 without its scope too.
const (
	sizeIn     = 16
	sizeIn6    = 28
	sizeIn6Old = 24
)

// parse reads a sockaddr for a socket of the domain. Errors: EINVAL (too short), EAFNOSUPPORT (of another family).
func parse(domain int, b []byte) (tcpip.FullAddress, error) {
	if domain == unix.AF_INET {
		if len(b) < sizeIn {
			return tcpip.FullAddress{}, unix.EINVAL
		}
		if le.Uint16(b) != unix.AF_INET {
			return tcpip.FullAddress{}, unix.EAFNOSUPPORT
		}
		return tcpip.FullAddress{Port: be.Uint16(b[2:]), Addr: tcpip.AddrFrom4Slice(b[4:8])}, nil
	}
	if len(b) < sizeIn6Old {
		return tcpip.FullAddress{}, unix.EINVAL
	}
	if le.Uint16(b) != unix.AF_INET6 {
		return tcpip.FullAddress{}, unix.EAFNOSUPPORT
	}
	a := tcpip.FullAddress{Port: be.Uint16(b[2:]), Addr: tcpip.AddrFrom16Slice(b[8:24])}
	if len(b) >= sizeIn6 && header.IsV6LinkLocalUnicastAddress(a.Addr) {
		a.NIC = tcpip.NICID(le.Uint32(b[24:]))
	}
	return a, nil
}

// unspecified reports an address of zeros, also one that is an IPv4 address in IPv6.
func unspecified(a tcpip.Address) bool {
	if a.Len() == 16 && header.IsV4MappedAddress(a) {
		b := a.As16()
		return [4]byte(b[12:]) == [4]byte{}
	}
	return a.Len() == 0 || a.Unspecified()
}

// mapped is a4 as an IPv6 address (::ffff:a.b.c.d).
func mapped(a4 tcpip.Address) tcpip.Address {
	var b [16]byte
	b[10], b[11] = 0xff, 0xff
	v4 := a4.As4()
	copy(b[12:], v4[:])
	return tcpip.AddrFrom16(b)
}

// toStack is the address as endpoints want it: none instead of zeros, so that a socket is bound to all addresses.
func toStack(a tcpip.FullAddress) tcpip.FullAddress {
	if a.Addr.Len() > 0 && a.Addr.Unspecified() {
		a.Addr = tcpip.Address{}
	}
	return a
}

// toPeer is the address of a peer: zeros stand for the loopback, as in Linux.
func toPeer(a tcpip.FullAddress) tcpip.FullAddress {
	switch {
	case !unspecified(a.Addr):
	case a.Addr.Len() == 4:
		a.Addr = loopback4
	case a.Addr.Unspecified():
		a.Addr = header.IPv6Loopback
	default:
		a.Addr = mapped(loopback4)
	}
	return a
}

// sockaddr lays an address out for a socket of the domain.
func sockaddr(domain int, a tcpip.FullAddress) []byte {
	if domain == unix.AF_INET {
		b := make([]byte, sizeIn)
		le.PutUint16(b, unix.AF_INET)
		be.PutUint16(b[2:], a.Port)
		copy(b[4:8], a.Addr.AsSlice())
		return b
	}
	b := make([]byte, sizeIn6)
	le.PutUint16(b, unix.AF_INET6)
	be.PutUint16(b[2:], a.Port)
	if a.Addr.Len() == 4 {
		a.Addr = mapped(a.Addr)
	}
	copy(b[8:24], a.Addr.AsSlice())
	if header.IsV6LinkLocalUnicastAddress(a.Addr) {
		le.PutUint32(b[24:], uint32(a.NIC))
	}
	return b
}
