package procfs

import (
	"bytes"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/vfs"
)

// Nodes are made when they are looked up and forgotten when nobody uses them; an inode number says what they are: the process's number
// and a small number of the entry's own.

// entry is a name in a directory of this filesystem.
type entry struct {
	name string
	kind uint32 // S_IFDIR, S_IFREG or S_IFLNK
	make func() vfs.Inode
}

// directory is a directory whose entries a function lists.
type directory struct {
	vfs.Attrs
	vfs.ReadOnlyDirectory
	// entries lists what is there now; find answers one of it, nil when there is none. A nil find looks through entries.
	entries func() []entry
	find    func(name string) vfs.Inode
	alive   func() bool
}

// Alive implements vfs.Revalidator.
func (d *directory) Alive() bool { return d.alive == nil || d.alive() }

// Lookup implements vfs.Inode.
func (d *directory) Lookup(name string) (vfs.Inode, error) {
	if !d.Alive() {
		return nil, unix.ENOENT
	}
	if d.find != nil {
		if i := d.find(name); i != nil {
			return i, nil
		}
		return nil, unix.ENOENT
	}
	for _, e := range d.entries() {
		if e.name == name {
			return e.make(), nil
		}
	}
	return nil, unix.ENOENT
}

// Open implements vfs.Inode.
func (d *directory) Open(vfs.Caller, *vfs.Description) (vfs.File, error) {
	return openDirectory{d: d}, nil
}

type openDirectory struct {
	vfs.DirectoryFile
	d *directory
}

// ReadDir implements vfs.File. The position is the index of the next entry.
func (o openDirectory) ReadDir(_ vfs.Caller, fd *vfs.Description, pos *int64, emit func(vfs.Dirent) bool) error {
	if !o.d.Alive() {
		return unix.ENOENT
	}
	if !vfs.EmitDots(fd, pos, emit) {
		return nil
	}
	list := o.d.entries()
	for *pos-2 < int64(len(list)) {
		e := list[*pos-2]
		if !emit(vfs.Dirent{Name: e.name, Ino: e.make().Attributes().Ino, Type: vfs.DirentType(e.kind), Next: *pos + 1}) {
			return nil
		}
		*pos++
	}
	return nil
}

// text is a file whose contents a function makes when it is read from the start.
type text struct {
	vfs.Attrs
	vfs.NotDirectory
	read  func(c vfs.Caller) ([]byte, error)
	write func(c vfs.Caller, data []byte) error // nil: read-only
}

// Truncate implements vfs.Inode: opening with O_TRUNC is allowed and does nothing.
func (t *text) Truncate(vfs.Caller, int64) error { return nil }

// Open implements vfs.Inode.
func (t *text) Open(_ vfs.Caller, d *vfs.Description) (vfs.File, error) {
	if d.Writable() && t.write == nil {
		return nil, unix.EACCES
	}
	return &openText{t: t}, nil
}

type openText struct {
	vfs.SeekableFile
	t *text

	mu   sync.Mutex
	data []byte
	have bool
}

// Read implements vfs.File.
func (o *openText) Read(c vfs.Caller, _ *vfs.Description, dst vfs.Buffer, pos *int64) (int, error) {
	o.mu.Lock()
	if *pos == 0 || !o.have {
		data, err := o.t.read(c)
		if err != nil {
			o.mu.Unlock()
			return 0, err
		}
		o.data, o.have = data, true
	}
	data := o.data
	o.mu.Unlock()
	if *pos >= int64(len(data)) {
		return 0, nil
	}
	data = data[*pos:]
	n, err := dst.CopyOut(0, data[:min(len(data), dst.Len())])
	*pos += int64(n)
	return n, err
}

// Write implements vfs.File.
func (o *openText) Write(c vfs.Caller, _ *vfs.Description, src vfs.Buffer, pos *int64) (int, error) {
	if o.t.write == nil {
		return 0, unix.EINVAL
	}
	data := make([]byte, min(src.Len(), vfs.PageSize))
	if _, err := src.CopyIn(0, data); err != nil {
		return 0, err
	}
	if err := o.t.write(c, bytes.TrimRight(data, "\n\x00")); err != nil {
		return 0, err
	}
	*pos += int64(src.Len())
	return src.Len(), nil
}

// link is a symbolic link.
type link struct {
	vfs.Attrs
	vfs.NotDirectory
	target func(c vfs.Caller) (string, error)
}

// Size implements vfs.Inode.
func (l *link) Size() (int64, int64) { return 0, 0 }

// Readlink implements vfs.Inode.
func (l *link) Readlink(c vfs.Caller) (string, error) { return l.target(c) }

// jump is a symbolic link to an object.
type jump struct {
	vfs.Attrs
	vfs.NotDirectory
	to func(c vfs.Caller) (vfs.Path, error)
}

// Size implements vfs.Inode.
func (j *jump) Size() (int64, int64) { return 64, 0 }

// Readlink implements vfs.Inode.
func (j *jump) Readlink(c vfs.Caller) (string, error) {
	p, err := j.to(c)
	if err != nil {
		return "", err
	}
	name, _ := p.From(c.FS().Root())
	return name, nil
}

// Jump implements vfs.MagicLink.
func (j *jump) Jump(c vfs.Caller) (vfs.Path, error) { return j.to(c) }

// maker gives inodes their attributes: dev of the filesystem, owner and the base of their inode numbers.
type maker struct {
	fs       *FS
	uid, gid uint32
	base     uint64
	last     uint64
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
	d := &directory{entries: entries, find: find, alive: alive}
	m.init(&d.Attrs, unix.S_IFDIR|mode)
	return entry{name, unix.S_IFDIR, func() vfs.Inode { return d }}
}

func (m *maker) text(name string, mode uint32, read func(vfs.Caller) ([]byte, error), write func(vfs.Caller, []byte) error) entry {
	t := &text{read: read, write: write}
	m.init(&t.Attrs, unix.S_IFREG|mode)
	return entry{name, unix.S_IFREG, func() vfs.Inode { return t }}
}

func (m *maker) link(name string, target func(vfs.Caller) (string, error)) entry {
	l := &link{target: target}
	m.init(&l.Attrs, unix.S_IFLNK|0o777)
	return entry{name, unix.S_IFLNK, func() vfs.Inode { return l }}
}

func (m *maker) jump(name string, mode uint32, to func(vfs.Caller) (vfs.Path, error)) entry {
	j := &jump{to: to}
	m.init(&j.Attrs, unix.S_IFLNK|mode)
	return entry{name, unix.S_IFLNK, func() vfs.Inode { return j }}
}

// fixed is a list of entries that never changes.
func fixed(list ...entry) func() []entry { return func() []entry { return list } }
