package afunix

import (
	"bytes"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/vfs"
)

// Layout of struct sockaddr_un, in bytes.
const (
	pathOffset = 2
	maxAddress = pathOffset + 108
)

// name is what a socket is bound to; it never changes.
type name struct {
	addr []byte    // struct sockaddr_un as getsockname answers it
	node vfs.Inode // of a path name
}

func (n *name) abstract() bool { return n.addr[pathOffset] == 0 }

// address is the sockaddr of a name, and of none.
func (n *name) address() []byte {
	if n == nil {
		return le.AppendUint16(nil, unix.AF_UNIX)
	}
	return n.addr
}

func family(addr []byte) int { return int(le.Uint16(addr)) }

// validate checks the address of a peer (unix_validate_addr).
func validate(addr []byte) error {
	if len(addr) <= pathOffset || len(addr) > maxAddress || family(addr) != unix.AF_UNIX {
		return unix.EINVAL
	}
	return nil
}

// path is the path name in addr: up to the first NUL.
func path(addr []byte) string {
	p := addr[pathOffset:]
	if i := bytes.IndexByte(p, 0); i >= 0 {
		p = p[:i]
	}
	return string(p)
}

// names is where sockets are found: by abstract name, or by the inode of the path name.
var names = table{abstract: make(map[string]*Socket), nodes: make(map[vfs.Inode]*Socket), all: make(map[*Socket]struct{})}

type table struct {
	mu       sync.RWMutex
	abstract map[string]*Socket
	nodes    map[vfs.Inode]*Socket
	all      map[*Socket]struct{} // those with a description: /proc/net/unix
	auto     uint32               // last number given by autobind
}

func (t *table) enter(s *Socket) {
	t.mu.Lock()
	t.all[s] = struct{}{}
	t.mu.Unlock()
}

// leave forgets s and the name that it had: connections that were accepted carry their listener's.
func (t *table) leave(s *Socket, n *name) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.all, s)
	if n == nil {
		return
	}
	if n.abstract() {
		if t.abstract[string(n.addr)] == s {
			delete(t.abstract, string(n.addr))
		}
	} else if t.nodes[n.node] == s {
		delete(t.nodes, n.node)
	}
}

// lookup finds the socket with an address. Errors: those of path resolution, EACCES without permission to write, ECONNREFUSED when nobody has
// the name, EPROTOTYPE when it is of another type.
func lookup(c vfs.Caller, addr []byte, typ int) (*Socket, error) {
	var s *Socket
	if addr[pathOffset] == 0 {
		names.mu.RLock()
		s = names.abstract[string(addr)]
		names.mu.RUnlock()
	} else {
		p, err := vfs.Lookup(c, vfs.AtCwd(c), path(addr), vfs.Follow)
		if err != nil {
			return nil, err
		}
		i := p.Inode()
		if err := c.Creds().MayAccess(i.Attributes(), vfs.MayWrite); err != nil {
			return nil, err
		}
		if i.Attributes().Type() != unix.S_IFSOCK {
			return nil, unix.ECONNREFUSED
		}
		names.mu.RLock()
		s = names.nodes[i]
		names.mu.RUnlock()
	}
	if s == nil {
		return nil, unix.ECONNREFUSED
	}
	if s.Type != typ {
		return nil, unix.EPROTOTYPE
	}
	return s, nil
}

// Bind implements socket.Socket. An address that is only a family asks for a name of the kernel's choice.
func (s *Socket) Bind(c vfs.Caller, addr []byte) error {
	if len(addr) == pathOffset && family(addr) == unix.AF_UNIX {
		return s.autobind()
	}
	if err := validate(addr); err != nil {
		return err
	}
	if addr[pathOffset] == 0 {
		return s.bindAbstract(addr)
	}
	s.mu.Lock()
	bound := s.name != nil
	s.mu.Unlock()
	if bound {
		return unix.EINVAL
	}
	p := path(addr)
	if err := vfs.Mknod(c, vfs.AtCwd(c), p, unix.S_IFSOCK|0o777, 0); err != nil {
		if err == unix.EEXIST {
			err = unix.EADDRINUSE
		}
		return err
	}
	at, err := vfs.Lookup(c, vfs.AtCwd(c), p, 0)
	if err != nil {
		return err
	}
	full := append(bytes.Clone(addr[:pathOffset]), p...)
	n := &name{addr: append(full, 0), node: at.Inode()}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.name != nil { // another thread was faster: the entry stays, as a program's own race
		return unix.EINVAL
	}
	s.name = n
	names.mu.Lock()
	names.nodes[n.node] = s
	names.mu.Unlock()
	return nil
}

func (s *Socket) bindAbstract(addr []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.name != nil {
		return unix.EINVAL
	}
	names.mu.Lock()
	defer names.mu.Unlock()
	if names.abstract[string(addr)] != nil {
		return unix.EADDRINUSE
	}
	s.name = &name{addr: bytes.Clone(addr)}
	names.abstract[string(addr)] = s
	return nil
}

// autobind gives a socket without a name an abstract one of five hexadecimal digits.
func (s *Socket) autobind() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.name != nil {
		return nil
	}
	names.mu.Lock()
	defer names.mu.Unlock()
	for range 1 << 20 {
		names.auto = (names.auto + 1) & 0xfffff
		addr := fmt.Appendf(le.AppendUint16(nil, unix.AF_UNIX), "\x00%05x", names.auto)
		if names.abstract[string(addr)] == nil {
			s.name = &name{addr: addr}
			names.abstract[string(addr)] = s
			return nil
		}
	}
	return unix.ENOSPC
}

// autobindForCredentials names a socket that wants to know who sends: the peer is to have an address to answer to.
func (s *Socket) autobindForCredentials(vfs.Caller) error {
	if !s.Flag(unix.SO_PASSCRED) {
		return nil
	}
	return s.autobind()
}
