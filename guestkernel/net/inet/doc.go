// Package inet is AF_INET and AF_INET6 (ip(7), tcp(7), udp(7), raw(7), icmp(7)) over gVisor's network stack as a library.
//
//	Stack    the one stack of the machine, made when the first socket or device needs it, with a loopback device (stack.go)
//	Socket   a socket.Socket over an endpoint of the stack (socket.go, transfer.go, state.go)
//	options  levels IP, IPv6, TCP, UDP, raw (options.go); socket-level ones go on to the endpoint
//
// The stack has goroutines and timers of its own, which deliver packets and tell the endpoint's queue; a callback there passes the event on
// to the socket's wait queue, which is a leaf lock. Endpoints never block. They do lock: an endpoint's lock is held while data is copied to user memory,
// so it orders before mm.Space.mu.
//
// Where the stack's behaviour is not Linux's, this package makes up for it: states after a failed connect, readiness, SO_ERROR, shutdown of what is
// not connected, addresses that stand for the loopback.
package inet
