package socket

import (
	"encoding/binary"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/vfs"
	"ringo/guestkernel/wait"
)

// le is the byte order of both architectures.
var le = binary.LittleEndian

// Limits and defaults of buffers, in bytes (/proc/sys/net/core).
const (
	DefaultBuffer = 212992 // rmem_default, wmem_default
	MaxBuffer     = 212992 // rmem_max, wmem_max
	MinSend       = 4608   // SOCK_MIN_SNDBUF
	MinReceive    = 2304   // SOCK_MIN_RCVBUF
	MaxBacklog    = 4096   // somaxconn
)

// Base is the state of a socket that every family has.
type Base struct {
	Queue                  wait.Queue
	Domain, Type, Protocol int

	ino          atomic.Uint64
	flags        atomic.Uint64 // bit n: option SO_n is on
	sendBuffer   atomic.Int32
	recvBuffer   atomic.Int32
	lowWater     atomic.Int32 // SO_RCVLOWAT
	priority     atomic.Int32
	mark         atomic.Uint32
	peekOffset   atomic.Int32 // SO_PEEK_OFF; -1: off
	linger       atomic.Int64 // SO_LINGER: -1 off, else seconds
	sendTimeout  atomic.Int64 // ns; 0: none
	recvTimeout  atomic.Int64
	bufferLocks  atomic.Uint32 // SO_BUF_LOCK
	incoming     atomic.Int32  // SO_INCOMING_CPU
	maxPacing    atomic.Uint64
	device       atomic.Pointer[string] // SO_BINDTODEVICE
	peer         atomic.Pointer[Credentials]
	peerGroups   atomic.Pointer[[]uint32]
	maxBusyPoll  atomic.Uint32
	timestamping atomic.Uint32
}

// Init sets the options' defaults.
func (b *Base) Init(domain, typ, protocol int) {
	b.Domain, b.Type, b.Protocol = domain, typ, protocol
	b.sendBuffer.Store(DefaultBuffer)
	b.recvBuffer.Store(DefaultBuffer)
	b.lowWater.Store(1)
	b.peekOffset.Store(-1)
	b.linger.Store(-1)
	b.incoming.Store(-1)
	b.maxPacing.Store(^uint64(0))
}

// Inherit copies the options of a listening socket to one that was accepted from it.
func (b *Base) Inherit(from *Base) {
	b.flags.Store(from.flags.Load())
	b.sendBuffer.Store(from.sendBuffer.Load())
	b.recvBuffer.Store(from.recvBuffer.Load())
	b.lowWater.Store(from.lowWater.Load())
	b.priority.Store(from.priority.Load())
	b.mark.Store(from.mark.Load())
	b.linger.Store(from.linger.Load())
	b.sendTimeout.Store(from.sendTimeout.Load())
	b.recvTimeout.Store(from.recvTimeout.Load())
	b.bufferLocks.Store(from.bufferLocks.Load())
}

// Common implements Socket.
func (b *Base) Common() *Base { return b }

// Register implements wait.Source.
func (b *Base) Register(e *wait.Entry, m wait.Mask) { b.Queue.Register(e, m) }

// Unregister implements wait.Source.
func (b *Base) Unregister(e *wait.Entry) { b.Queue.Unregister(e) }

// Ino is the socket's inode number in sockfs; 0 before it has a description.
func (b *Base) Ino() uint64 { return b.ino.Load() }

// Flag reports whether a boolean option (SO_PASSCRED...) is on.
func (b *Base) Flag(option int) bool { return b.flags.Load()>>option&1 != 0 }

// SetFlag turns a boolean option on or off.
func (b *Base) SetFlag(option int, on bool) {
	if on {
		b.flags.Or(1 << option)
	} else {
		b.flags.And(^uint64(1 << option))
	}
}

// SendBuffer and ReceiveBuffer are SO_SNDBUF and SO_RCVBUF as they are read back, in bytes.
func (b *Base) SendBuffer() int { return int(b.sendBuffer.Load()) }

// ReceiveBuffer is SO_RCVBUF.
func (b *Base) ReceiveBuffer() int { return int(b.recvBuffer.Load()) }

// SetBuffers replaces the buffer sizes that a family begins with.
func (b *Base) SetBuffers(send, receive int) {
	b.sendBuffer.Store(int32(send))
	b.recvBuffer.Store(int32(receive))
}

// BuffersSet reports whether SO_SNDBUF or SO_RCVBUF was set by the program.
func (b *Base) BuffersSet() (send, receive bool) {
	l := b.bufferLocks.Load()
	return l&sendLock != 0, l&recvLock != 0
}

// PeekOffset is SO_PEEK_OFF: -1 when it is off.
func (b *Base) PeekOffset() int { return int(b.peekOffset.Load()) }

// MovePeek moves a peek offset that is on by n bytes, not below 0.
func (b *Base) MovePeek(n int) {
	if at := b.peekOffset.Load(); at >= 0 {
		b.peekOffset.Store(max(0, at+int32(n)))
	}
}

// Linger is SO_LINGER: on, and for how many seconds.
func (b *Base) Linger() (on bool, seconds int) {
	l := b.linger.Load()
	return l >= 0, int(max(0, l))
}

// SetPeer records who is at the other end: SO_PEERCRED.
func (b *Base) SetPeer(c *Credentials, groups []uint32) {
	b.peer.Store(c)
	b.peerGroups.Store(&groups)
}

// CopyPeer takes over another socket's SO_PEERCRED.
func (b *Base) CopyPeer(from *Base) {
	b.peer.Store(from.peer.Load())
	b.peerGroups.Store(from.peerGroups.Load())
}

// deadline is when a transfer of a timeout in ns gives up: the zero time for none.
func deadline(timeout int64) time.Time {
	if timeout == 0 {
		return time.Time{}
	}
	return time.Now().Add(time.Duration(timeout))
}

// Owner is who a socket belongs to, for /proc/net.
func Owner(c vfs.Caller) uint32 { return c.Creds().FSUID }

// stream reports whether the type has no message boundaries.
func (b *Base) stream() bool { return b.Type == unix.SOCK_STREAM }
