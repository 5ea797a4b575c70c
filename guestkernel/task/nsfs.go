package task

import (
	"encoding/binary"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/vfs"
)

// nsInode is a namespace as a file: what the links in /proc/PID/ns lead to.
type nsInode struct {
	vfs.Attrs
	vfs.NotDirectory
	ns Namespace
}

var nsMount = sync.OnceValue(func() *vfs.Mount { return vfs.AnonymousMount("nsfs") })

// Path answers the file of the namespace.
func (s Namespace) Path() vfs.Path {
	m := nsMount()
	i := &nsInode{ns: s}
	i.Init(m.Superblock().Dev, s.Ino, unix.S_IFREG|0o444, 0, 0)
	return m.Anonymous(fmt.Sprintf("%s:[%d]", s.Kind, s.Ino), i)
}

// Open implements vfs.Inode: the open file keeps the namespace.
func (i *nsInode) Open(_ vfs.Caller, d *vfs.Description) (vfs.File, error) {
	if d.Writable() {
		return nil, unix.EPERM
	}
	i.ns.keep(1)
	return &nsFile{ns: i.ns}, nil
}

// keep counts a file that is open on the namespace.
func (s Namespace) keep(n int) {
	switch o := s.object.(type) {
	case *vfs.Namespace:
		if n > 0 {
			o.Hold()
		} else {
			o.Drop()
		}
	case *ipcNamespace:
		if n > 0 {
			o.Hold()
		} else {
			o.Release()
		}
	}
}

type nsFile struct {
	vfs.StreamFile
	ns Namespace
}

// Release implements vfs.File.
func (f *nsFile) Release(*vfs.Description) { f.ns.keep(-1) }

// Requests of ioctl_nsfs(2).
const (
	nsGetUserNS   = 0xb701
	nsGetParent   = 0xb702
	nsGetType     = 0xb703
	nsGetOwnerUID = 0xb704
)

// Ioctl implements vfs.File.
func (f *nsFile) Ioctl(c vfs.Caller, _ *vfs.Description, cmd uint32, arg uint64) (uint64, error) {
	t, ok := c.(*Task)
	if !ok {
		return 0, unix.ENOTTY
	}
	var other Namespace
	var err error
	switch cmd {
	case nsGetType:
		return f.ns.Flag, nil
	case nsGetOwnerUID:
		uid, err := f.ns.OwnerUID(t)
		if err != nil {
			return 0, err
		}
		var b [4]byte
		binary.LittleEndian.PutUint32(b[:], uid)
		return 0, c.CopyOutUser(arg, b[:])
	case nsGetUserNS:
		other, err = f.ns.UserNamespace(t)
	case nsGetParent:
		other, err = f.ns.Up(t)
	default:
		return 0, unix.ENOTTY
	}
	if err != nil {
		return 0, err
	}
	d, err := vfs.OpenPath(c, other.Path(), unix.O_RDONLY, true)
	if err != nil {
		return 0, err
	}
	fd, err := c.FDs().Install(d, 0, true, c.Rlimit(unix.RLIMIT_NOFILE))
	if err != nil {
		d.Unref()
	}
	return uint64(fd), err
}

// NamespaceOf answers the namespace that a description of /proc/PID/ns is open on. The error is EINVAL.
func NamespaceOf(d *vfs.Description) (Namespace, error) {
	if f, ok := d.File().(*nsFile); ok {
		return f.ns, nil
	}
	return Namespace{}, unix.EINVAL
}
