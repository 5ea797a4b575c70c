package procfs

import (
	"sync/atomic"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/fs/kernfs"
	"ringo/guestkernel/vfs"
)

// Nodes are made when they are looked up and forgotten when nobody uses them; an inode number says what they are: the process's number
// and a small number of the entry's own.

type entry = kernfs.Entry

// maker gives inodes their attributes: dev of the filesystem, owner and the base of their inode numbers.
type maker struct {
	fs       *FS
	uid, gid uint32
	base     uint64
	last     uint64
	strict   bool // not even the superuser opens a read-only file for writing: /proc/sys
}

// lastFixed numbers the entries that are made once.
var lastFixed atomic.Uint64

func (m *maker) init(a *vfs.Attrs, mode uint32) {
	m.last++
	ino := m.base + m.last
	if m.base == 0 {
		ino = lastFixed.Add(1)
	}
	a.Init(m.fs.dev, ino, mode, m.uid, m.gid)
}

func (m *maker) dir(name string, mode uint32, entries func() []entry, find func(string) vfs.Inode, alive func() bool) entry {
	d := &kernfs.Dir{Entries: entries, Find: find, Living: alive}
	m.init(&d.Attrs, unix.S_IFDIR|mode)
	return entry{Name: name, Kind: unix.S_IFDIR, Make: func() vfs.Inode { return d }}
}

func (m *maker) text(name string, mode uint32, read func(vfs.Caller) ([]byte, error), write func(vfs.Caller, []byte) error) entry {
	t := &kernfs.Text{Read: read, Write: write}
	if m.strict && write == nil {
		t.Check = func(_ vfs.Caller, d *vfs.Description) error {
			if d.Writable() {
				return unix.EACCES
			}
			return nil
		}
	}
	m.init(&t.Attrs, unix.S_IFREG|mode)
	return entry{Name: name, Kind: unix.S_IFREG, Make: func() vfs.Inode { return t }}
}

// watched is a text whose changes poll tells.
func (m *maker) watched(name string, mode uint32, read func(vfs.Caller) ([]byte, error), watch func(vfs.Caller) kernfs.News) entry {
	t := &kernfs.Text{Read: read, Watch: watch}
	m.init(&t.Attrs, unix.S_IFREG|mode)
	return entry{Name: name, Kind: unix.S_IFREG, Make: func() vfs.Inode { return t }}
}

func (m *maker) link(name string, target func(vfs.Caller) (string, error)) entry {
	l := &kernfs.Link{Target: target}
	m.init(&l.Attrs, unix.S_IFLNK|0o777)
	return entry{Name: name, Kind: unix.S_IFLNK, Make: func() vfs.Inode { return l }}
}

func (m *maker) jump(name string, mode uint32, to func(vfs.Caller) (vfs.Path, error)) entry {
	j := &kernfs.Jump{To: to}
	m.init(&j.Attrs, unix.S_IFLNK|mode)
	return entry{Name: name, Kind: unix.S_IFLNK, Make: func() vfs.Inode { return j }}
}

// fixed is a list of entries that never changes.
func fixed(list ...entry) func() []entry { return func() []entry { return list } }
