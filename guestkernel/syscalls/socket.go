package syscalls

import (
	"golang.org/x/sys/unix"

	_ "ringo/guestkernel/net/afunix"  // registers AF_UNIX
	_ "ringo/guestkernel/net/inet"    // and AF_INET, AF_INET6
	_ "ringo/guestkernel/net/netlink" // and AF_NETLINK
	"ringo/guestkernel/net/socket"
	"ringo/guestkernel/task"
	"ringo/guestkernel/vfs"
)

func init() {
	register(map[string]Handler{
		"socket": socketCall, "socketpair": socketPair, "bind": bind, "listen": listen, "accept": accept, "accept4": accept4,
		"connect": connect, "getsockname": getSockName, "getpeername": getPeerName, "shutdown": shutdown,
		"setsockopt": setSockOpt, "getsockopt": getSockOpt,
	})
}

// getSocket answers the socket of a descriptor: EBADF, ENOTSOCK. The caller drops the description.
func getSocket(t *task.Task, fd int) (*vfs.Description, *socket.File, error) {
	d, err := get(t, fd)
	if err != nil {
		return nil, nil, err
	}
	f, err := socket.Of(d)
	if err != nil {
		d.Unref()
		return nil, nil, err
	}
	return d, f, nil
}

// socketFlags splits the flags off a socket type.
func socketFlags(typ int) (int, uint32, error) {
	const flags = unix.SOCK_NONBLOCK | unix.SOCK_CLOEXEC
	if typ&^(0xf|flags) != 0 {
		return 0, 0, unix.EINVAL
	}
	return typ & 0xf, uint32(typ & flags), nil
}

func socketCall(t *task.Task, a Args) (uint64, error) {
	typ, flags, err := socketFlags(a.Int(1))
	if err != nil {
		return 0, err
	}
	d, err := socket.New(t, a.Int(0), typ, a.Int(2), flags&unix.SOCK_NONBLOCK)
	if err != nil {
		return 0, err
	}
	return install(t, d, flags&unix.SOCK_CLOEXEC != 0)
}

func socketPair(t *task.Task, a Args) (uint64, error) {
	typ, flags, err := socketFlags(a.Int(1))
	if err != nil {
		return 0, err
	}
	x, y, err := socket.NewPair(t, a.Int(0), typ, a.Int(2), flags&unix.SOCK_NONBLOCK)
	if err != nil {
		return 0, err
	}
	cloexec := flags&unix.SOCK_CLOEXEC != 0
	fd0, err := install(t, x, cloexec)
	if err != nil {
		y.Unref()
		return 0, err
	}
	fd1, err := install(t, y, cloexec)
	if err == nil {
		if err = putUint32(t, a[3], uint32(fd0)); err == nil {
			err = putUint32(t, a[3]+4, uint32(fd1))
		}
		if err != nil {
			closeNow(t, int(fd1))
		}
	}
	if err != nil {
		closeNow(t, int(fd0))
	}
	return 0, err
}

func closeNow(t *task.Task, fd int) {
	if d, err := t.FDs().Remove(fd); err == nil {
		d.Unref()
	}
}

// getAddress reads a socket address of n bytes.
func getAddress(t *task.Task, addr uint64, n int) ([]byte, error) {
	if n < 0 || n > socket.MaxAddress {
		return nil, unix.EINVAL
	}
	b := make([]byte, n)
	return b, t.CopyInUser(addr, b)
}

// putAddress writes an address to addr, as far as the length at size says that there is room, and its whole length to size.
func putAddress(t *task.Task, addr, size uint64, b []byte) error {
	room, err := vfs.GetInt32(t, size)
	if err != nil {
		return err
	}
	if room < 0 {
		return unix.EINVAL
	}
	if err := t.CopyOutUser(addr, b[:min(int(room), len(b))]); err != nil {
		return err
	}
	return vfs.PutInt32(t, size, int32(len(b)))
}

func bind(t *task.Task, a Args) (uint64, error) {
	d, s, err := getSocket(t, a.Int(0))
	if err != nil {
		return 0, err
	}
	defer d.Unref()
	addr, err := getAddress(t, a[1], a.Int(2))
	if err != nil {
		return 0, err
	}
	if len(addr) < 2 {
		return 0, unix.EINVAL
	}
	return 0, s.Bind(t, addr)
}

func listen(t *task.Task, a Args) (uint64, error) {
	d, s, err := getSocket(t, a.Int(0))
	if err != nil {
		return 0, err
	}
	defer d.Unref()
	return 0, s.Listen(t, int(min(a.Uint(1), socket.MaxBacklog))) // a negative backlog is a large one
}

func accept(t *task.Task, a Args) (uint64, error) {
	a[3] = 0
	return accept4(t, a)
}

func accept4(t *task.Task, a Args) (uint64, error) {
	flags := a.Uint(3)
	if flags&^(unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC) != 0 {
		return 0, unix.EINVAL
	}
	d, s, err := getSocket(t, a.Int(0))
	if err != nil {
		return 0, err
	}
	defer d.Unref()
	if err := t.FDs().HasRoom(t.Rlimit(unix.RLIMIT_NOFILE)); err != nil {
		return 0, err
	}
	n, err := s.AcceptFile(t, d, flags&unix.SOCK_NONBLOCK)
	if err != nil {
		return 0, err
	}
	if a[1] != 0 {
		f, err := socket.Of(n)
		if err == nil {
			var peer []byte
			if peer, err = f.PeerName(); err != nil {
				err = unix.ECONNABORTED
			} else {
				err = putAddress(t, a[1], a[2], peer)
			}
		}
		if err != nil {
			n.Unref()
			return 0, err
		}
	}
	return install(t, n, flags&unix.SOCK_CLOEXEC != 0)
}

func connect(t *task.Task, a Args) (uint64, error) {
	d, s, err := getSocket(t, a.Int(0))
	if err != nil {
		return 0, err
	}
	defer d.Unref()
	addr, err := getAddress(t, a[1], a.Int(2))
	if err != nil {
		return 0, err
	}
	if len(addr) < 2 {
		return 0, unix.EINVAL
	}
	return 0, s.ConnectTo(t, d, addr)
}

func getSockName(t *task.Task, a Args) (uint64, error) {
	return nameCall(t, a, func(s *socket.File) ([]byte, error) { return s.Name() })
}

func getPeerName(t *task.Task, a Args) (uint64, error) {
	return nameCall(t, a, func(s *socket.File) ([]byte, error) { return s.PeerName() })
}

func nameCall(t *task.Task, a Args, which func(*socket.File) ([]byte, error)) (uint64, error) {
	d, s, err := getSocket(t, a.Int(0))
	if err != nil {
		return 0, err
	}
	defer d.Unref()
	addr, err := which(s)
	if err != nil {
		return 0, err
	}
	return 0, putAddress(t, a[1], a[2], addr)
}

func shutdown(t *task.Task, a Args) (uint64, error) {
	d, s, err := getSocket(t, a.Int(0))
	if err != nil {
		return 0, err
	}
	defer d.Unref()
	if how := a.Int(1); how < unix.SHUT_RD || how > unix.SHUT_RDWR {
		return 0, unix.EINVAL
	}
	return 0, s.Shutdown(a.Int(1))
}

// maxOption bounds an option's value: none that is known is longer.
const maxOption = vfs.PageSize

func setSockOpt(t *task.Task, a Args) (uint64, error) {
	level, name, n := a.Int(1), a.Int(2), a.Int(4)
	if n < 0 {
		return 0, unix.EINVAL
	}
	d, s, err := getSocket(t, a.Int(0))
	if err != nil {
		return 0, err
	}
	defer d.Unref()
	value := make([]byte, min(n, maxOption))
	if err := t.CopyInUser(a[3], value); err != nil {
		return 0, err
	}
	return 0, s.Set(t, level, name, value)
}

func getSockOpt(t *task.Task, a Args) (uint64, error) {
	d, s, err := getSocket(t, a.Int(0))
	if err != nil {
		return 0, err
	}
	defer d.Unref()
	room, err := vfs.GetInt32(t, a[4])
	if err != nil {
		return 0, err
	}
	if room < 0 {
		return 0, unix.EINVAL
	}
	value, err := s.Get(t, a.Int(1), a.Int(2), int(room))
	if err == unix.ERANGE { // the length says what is needed
		if e := vfs.PutInt32(t, a[4], int32(len(value))); e != nil {
			return 0, e
		}
	}
	if err != nil {
		return 0, err
	}
	if err := t.CopyOutUser(a[3], value); err != nil {
		return 0, err
	}
	return 0, vfs.PutInt32(t, a[4], int32(len(value)))
}
