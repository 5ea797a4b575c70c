package inet

import (
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// ChangeAddress gives an interface an address, with the route to its network, or takes it away. Errors: ENODEV, EEXIST, EADDRNOTAVAIL.
func ChangeAddress(add bool, index int, a tcpip.ProtocolAddress) error {
	s, id := Stack(), tcpip.NICID(index)
	if !s.HasNIC(id) {
		return unix.ENODEV
	}
	r := tcpip.Route{Destination: a.AddressWithPrefix.Subnet(), NIC: id}
	if !add {
		if err := s.RemoveAddress(id, a.AddressWithPrefix.Address); err != nil {
			return unix.EADDRNOTAVAIL
		}
		s.RemoveRoutes(func(o tcpip.Route) bool { return o == r })
		return nil
	}
	if err := s.AddProtocolAddress(id, a, stack.AddressProperties{}); err != nil {
		return errno(err)
	}
	s.AddRoute(r)
	return nil
}

// ChangeRoute adds a route or takes one away. A route without a device uses that of its gateway. Errors: ENETUNREACH, ENODEV, EEXIST, ESRCH.
func ChangeRoute(add bool, r tcpip.Route) error {
	s := Stack()
	if !add {
		if s.RemoveRoutes(func(o tcpip.Route) bool {
			return o.Destination == r.Destination && (r.NIC == 0 || o.NIC == r.NIC) && (r.Gateway.Len() == 0 || o.Gateway == r.Gateway)
		}) == 0 {
			return unix.ESRCH
		}
		return nil
	}
	for _, o := range s.GetRouteTable() {
		if r.NIC == 0 && r.Gateway.Len() > 0 && o.Gateway.Len() == 0 && o.Destination.Contains(r.Gateway) {
			r.NIC = o.NIC
		}
		if o.Destination == r.Destination && o.Gateway == r.Gateway && (r.NIC == 0 || o.NIC == r.NIC) {
			return unix.EEXIST
		}
	}
	switch {
	case r.NIC == 0:
		return unix.ENETUNREACH
	case !s.HasNIC(r.NIC):
		return unix.ENODEV
	}
	s.AddRoute(r)
	return nil
}
