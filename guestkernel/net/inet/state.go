package inet

import (
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"

	"ringo/guestkernel/wait"
)

const (
	readable = wait.In | wait.RdNorm
	writable = wait.Out | wait.WrNorm
)

// pullLocked moves a pending error of the endpoint to s.err, where it can be looked at without being taken. mu is held.
func (s *Socket) pullLocked() error {
	if s.err == nil {
		if s.tcp() && tcp.EndpointState(s.ep().State()) != tcp.StateError {
			return nil
		}
		// A failed connection has its error in two places: one is told.
		for e := s.ep().LastError(); e != nil; e = s.ep().LastError() {
			if s.err == nil {
				s.err = errno(e)
			}
		}
	}
	return s.err
}

// pending answers the error that SO_ERROR would.
func (s *Socket) pending() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pullLocked()
}

// TakeError implements socket.Socket.
func (s *Socket) TakeError() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.pullLocked()
	s.err = nil
	return err
}

// Readiness implements socket.Socket.
func (s *Socket) Readiness() wait.Mask {
	s.mu.Lock()
	failed := s.pullLocked() != nil
	shut := s.shut
	s.mu.Unlock()
	var m wait.Mask
	if failed {
		m |= wait.Err
	}
	if s.tcp() {
		return m | s.streamReadiness(shut)
	}
	if shut == shutReceive|shutSend {
		m |= wait.Hup
	}
	if shut&shutReceive != 0 {
		m |= wait.RdHup | readable
	}
	e := s.ep()
	m |= wait.Mask(e.Readiness(waiter.ReadableEvents | waiter.WritableEvents).ToLinux())
	if m&wait.Out != 0 {
		m |= wait.WrBand
	}
	return m
}

// streamReadiness is tcp_poll.
func (s *Socket) streamReadiness(shut int) (m wait.Mask) {
	e := s.ep()
	switch tcp.EndpointState(e.State()) {
	case tcp.StateInitial, tcp.StateBound:
		return wait.Hup | writable
	case tcp.StateListen:
		m = wait.Mask(e.Readiness(waiter.ReadableEvents).ToLinux()) & readable
		if shut&shutReceive != 0 { // Linux has closed it
			m |= wait.Hup | wait.RdHup | readable | writable
		}
		return m
	case tcp.StateConnecting, tcp.StateSynSent, tcp.StateSynRecv:
		return 0
	case tcp.StateError, tcp.StateClose, tcp.StateTimeWait:
		return readable | writable | wait.Hup | wait.RdHup
	case tcp.StateFinWait1, tcp.StateFinWait2:
		shut |= shutSend
	case tcp.StateCloseWait:
		shut |= shutReceive
	case tcp.StateClosing, tcp.StateLastAck:
		shut |= shutReceive | shutSend
	}
	m = wait.Mask(e.Readiness(waiter.ReadableEvents|waiter.WritableEvents).ToLinux()) & (readable | writable)
	if shut&shutReceive != 0 {
		m |= readable | wait.RdHup
	}
	if shut&shutSend != 0 {
		m |= writable
	}
	if shut == shutReceive|shutSend {
		m |= wait.Hup
	}
	return m
}

// connState is the state as Linux numbers it (include/net/tcp_states.h), for TCP_INFO and /proc/net/tcp.
func (s *Socket) connState() int {
	if !s.tcp() {
		if _, err := s.ep().GetRemoteAddress(); err == nil {
			return 1 // TCP_ESTABLISHED
		}
		return 7 // TCP_CLOSE
	}
	switch st := tcp.EndpointState(s.ep().State()); st {
	case tcp.StateEstablished:
		return unix.BPF_TCP_ESTABLISHED
	case tcp.StateConnecting, tcp.StateSynSent:
		return unix.BPF_TCP_SYN_SENT
	case tcp.StateSynRecv:
		return unix.BPF_TCP_SYN_RECV
	case tcp.StateFinWait1:
		return unix.BPF_TCP_FIN_WAIT1
	case tcp.StateFinWait2:
		return unix.BPF_TCP_FIN_WAIT2
	case tcp.StateCloseWait:
		return unix.BPF_TCP_CLOSE_WAIT
	case tcp.StateLastAck:
		return unix.BPF_TCP_LAST_ACK
	case tcp.StateListen:
		return unix.BPF_TCP_LISTEN
	case tcp.StateClosing:
		return unix.BPF_TCP_CLOSING
	}
	return unix.BPF_TCP_CLOSE // a socket that a program has is never in TIME_WAIT
}
