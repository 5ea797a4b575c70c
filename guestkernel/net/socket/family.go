package socket

import (
	"fmt"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/vfs"
	"ringo/guestkernel/wait"
)

// MaxAddress is sizeof(struct sockaddr_storage): no address is longer.
const MaxAddress = 128

// Socket is what an address family does for an open socket. Methods may be called from any goroutine and never block.
type Socket interface {
	wait.Source
	// Common is the state that all families have.
	Common() *Base
	// Readiness answers the events that are true now.
	Readiness() wait.Mask
	Bind(c vfs.Caller, addr []byte) error
	Listen(c vfs.Caller, backlog int) error
	// Connect answers ErrWouldBlock as long as the connection is not there. begun says that this caller called before, with the same
	// address; a caller that does not wait is told InProgress.
	Connect(c vfs.Caller, addr []byte, begun bool) error
	Accept(c vfs.Caller) (Socket, error)
	// Send moves what it can of m.Data and answers how much. A stream may take a part; what cannot go on answers ErrWouldBlock, with the
	// bytes that were moved before.
	Send(c vfs.Caller, m *Outgoing) (int, error)
	// Receive fills m. It answers the bytes moved, or with MSG_TRUNC the datagram's length.
	Receive(c vfs.Caller, m *Incoming) (int, error)
	// Shutdown takes SHUT_RD, SHUT_WR or SHUT_RDWR.
	Shutdown(how int) error
	Name() ([]byte, error)
	PeerName() ([]byte, error)
	// Option and SetOption are getsockopt(2) and setsockopt(2) without the levels that File serves; room is how many bytes the caller takes.
	Option(c vfs.Caller, level, name, room int) ([]byte, error)
	SetOption(c vfs.Caller, level, name int, value []byte) error
	Ioctl(c vfs.Caller, cmd uint32, arg uint64) (uint64, error)
	// TakeError is SO_ERROR: it clears what it answers.
	TakeError() error
	Listening() bool
	// Release is called once, when the last descriptor is closed.
	Release()
}

// Family makes the sockets of a domain.
type Family struct {
	// New makes a socket. Type has no SOCK_NONBLOCK or SOCK_CLOEXEC in it.
	New func(c vfs.Caller, typ, protocol int) (Socket, error)
	// Pair makes two that are connected; nil: EOPNOTSUPP.
	Pair func(c vfs.Caller, typ, protocol int) (a, b Socket, err error)
	// InProgress is what connect(2) answers when it does not wait: EAGAIN or EINPROGRESS.
	InProgress error
}

// families by domain (AF_*). Filled by Register during package initialisation.
var families = map[int]*Family{}

// Register enters a family. It is for package initialisation.
func Register(domain int, f *Family) { families[domain] = f }

// Errors of socket(2) for a domain or type that is none.
func find(domain, typ int) (*Family, error) {
	if domain < 0 || domain >= unix.AF_MAX {
		return nil, unix.EAFNOSUPPORT
	}
	if typ < 0 || typ > unix.SOCK_PACKET {
		return nil, unix.EINVAL
	}
	if LowMemory() {
		return nil, unix.ENOBUFS
	}
	f := families[domain]
	if f == nil {
		return nil, unix.EAFNOSUPPORT
	}
	return f, nil
}

// New is socket(2) up to the descriptor. flags are of O_NONBLOCK.
func New(c vfs.Caller, domain, typ, protocol int, flags uint32) (*vfs.Description, error) {
	f, err := find(domain, typ)
	if err != nil {
		return nil, err
	}
	s, err := f.New(c, typ, protocol)
	if err != nil {
		return nil, err
	}
	return Open(c, s, flags)
}

// NewPair is socketpair(2) up to the descriptors.
func NewPair(c vfs.Caller, domain, typ, protocol int, flags uint32) (a, b *vfs.Description, err error) {
	f, err := find(domain, typ)
	if err != nil {
		return nil, nil, err
	}
	if f.Pair == nil {
		s, err := f.New(c, typ, protocol)
		if err == nil {
			s.Release()
			err = unix.EOPNOTSUPP
		}
		return nil, nil, err
	}
	x, y, err := f.Pair(c, typ, protocol)
	if err != nil {
		return nil, nil, err
	}
	if a, err = Open(c, x, flags); err != nil {
		y.Release()
		return nil, nil, err
	}
	if b, err = Open(c, y, flags); err != nil {
		a.Unref()
		return nil, nil, err
	}
	return a, b, nil
}

// inode is a socket in sockfs.
type inode struct {
	vfs.Attrs
	vfs.NotDirectory
}

var (
	sockfs  = vfs.AnonymousMount("sockfs")
	lastIno atomic.Uint64
)

// Open makes the description of a new socket; on an error the socket is released.
func Open(c vfs.Caller, s Socket, flags uint32) (*vfs.Description, error) {
	i := &inode{}
	ino := lastIno.Add(1)
	i.Init(sockfs.Superblock().Dev, ino, unix.S_IFSOCK|0o777, c.Creds().FSUID, c.Creds().FSGID)
	b := s.Common()
	b.ino.Store(ino)
	d, err := vfs.NewDescription(sockfs.Anonymous(fmt.Sprintf("socket:[%d]", ino), i), unix.O_RDWR|flags, &File{Socket: s})
	if err != nil {
		s.Release()
		return nil, err
	}
	return d, nil
}

// Of answers the socket behind a description: ENOTSOCK when it is something else.
func Of(d *vfs.Description) (*File, error) {
	if f, ok := d.File().(*File); ok {
		return f, nil
	}
	return nil, unix.ENOTSOCK
}
