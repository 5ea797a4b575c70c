package inet

import (
	"math/rand/v2"
	"sync"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/loopback"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/raw"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

// LoopbackNIC is the interface "lo": ifindex 1, as in Linux.
const LoopbackNIC tcpip.NICID = 1

// Ports that the kernel chooses from (/proc/sys/net/ipv4/ip_local_port_range).
const (
	firstPort = 32768
	lastPort  = 60999
)

var theStack struct {
	once sync.Once
	s    *stack.Stack
}

// Stack answers the machine's network stack and makes it on the first call. Any goroutine may call it.
func Stack() *stack.Stack {
	theStack.once.Do(func() { theStack.s = newStack() })
	return theStack.s
}

// random is the runtime's generator, which the host's seed started. It is safe for concurrent use.
type random struct{}

func (random) Int63() int64 { return rand.Int64() }
func (random) Seed(int64)   {}

// Read implements io.Reader.
func (random) Read(b []byte) (int, error) {
	for i := 0; i < len(b); i += 8 {
		var w [8]byte
		le.PutUint64(w[:], rand.Uint64())
		copy(b[i:], w[:])
	}
	return len(b), nil
}

func newStack() *stack.Stack {
	s := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, ipv6.NewProtocol, arp.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4, icmp.NewProtocol6},
		HandleLocal:        true,
		RawFactory:         raw.EndpointFactory{},
		RandSource:         random{},
		SecureRNG:          random{},
	})
	must := func(err tcpip.Error) {
		if err != nil {
			panic("setting up the network stack: " + err.String())
		}
	}
	must(s.SetPortRange(firstPort, lastPort))
	sack, moderate := tcpip.TCPSACKEnabled(true), tcpip.TCPModerateReceiveBufferOption(true)
	must(s.SetTransportProtocolOption(tcp.ProtocolNumber, &sack))
	must(s.SetTransportProtocolOption(tcp.ProtocolNumber, &moderate))
	must(s.SetTransportProtocolOption(tcp.ProtocolNumber, &tcpip.TCPSendBufferSizeRangeOption{Min: 4096, Default: 256 << 10, Max: 4 << 20}))
	must(s.SetTransportProtocolOption(tcp.ProtocolNumber, &tcpip.TCPReceiveBufferSizeRangeOption{Min: 4096, Default: 256 << 10, Max: 6 << 20}))
	if err := s.SetOption(tcpip.SendBufferSizeOption{Min: 4608, Default: 212992, Max: 8 << 20}); err != nil {
		panic("setting up the network stack: " + err.String())
	}
	if err := s.SetOption(tcpip.ReceiveBufferSizeOption{Min: stack.MinBufferSize, Default: 212992, Max: 8 << 20}); err != nil {
		panic("setting up the network stack: " + err.String())
	}
	must(s.CreateNICWithOptions(LoopbackNIC, loopback.New(), stack.NICOptions{Name: "lo"}))
	for _, a := range []tcpip.ProtocolAddress{
		{Protocol: header.IPv4ProtocolNumber, AddressWithPrefix: tcpip.AddressWithPrefix{Address: loopback4, PrefixLen: 8}},
		{Protocol: header.IPv6ProtocolNumber, AddressWithPrefix: tcpip.AddressWithPrefix{Address: header.IPv6Loopback, PrefixLen: 128}},
	} {
		must(s.AddProtocolAddress(LoopbackNIC, a, stack.AddressProperties{}))
		s.AddRoute(tcpip.Route{Destination: a.AddressWithPrefix.Subnet(), NIC: LoopbackNIC})
	}
	return s
}
