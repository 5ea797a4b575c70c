// Package kernfs is what the filesystems that show the kernel's state have in common: procfs, sysfs and cgroupfs are trees of its directories,
// texts and links.
//
// Entries are made when they are looked up and forgotten when nobody uses them, unless the filesystem keeps them itself; the superblock is dynamic.
package kernfs

import (
	"bytes"
	"sync"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/vfs"
	"ringo/guestkernel/wait"
)

// Entry is a name in a directory.
type Entry struct {
	Name string
	Kind uint32 // S_IFDIR, S_IFREG or S_IFLNK
	Make func() vfs.Inode
}

// Dir is a directory whose entries a function lists.
type Dir struct {
	vfs.Attrs
	vfs.ReadOnlyDirectory
	// Entries lists what is there now; Find answers one of it, nil when there is none. A nil Find looks through Entries.
	Entries func() []Entry
	Find    func(name string) vfs.Inode
	// Living, if set, says whether the directory still is there.
	Living func() bool
	// Shut says that programs cannot make anything here: the error is EPERM or EACCES then instead of /proc's ENOENT.
	Shut bool
	// MakeDir and RemoveDir, if set, are mkdir(2) and rmdir(2) in the directory.
	MakeDir   func(c vfs.Caller, name string) (vfs.Inode, error)
	RemoveDir func(name string) error
}

// Alive implements vfs.Revalidator.
func (d *Dir) Alive() bool { return d.Living == nil || d.Living() }

// Makes implements vfs.Maker: whether it is worth asking.
func (d *Dir) Makes() bool { return d.MakeDir != nil || d.Shut }

// Create implements vfs.Inode.
func (d *Dir) Create(c vfs.Caller, name string, mode uint32, _ uint64) (vfs.Inode, error) {
	if d.MakeDir == nil || mode&unix.S_IFMT != unix.S_IFDIR {
		return nil, unix.EPERM
	}
	return d.MakeDir(c, name)
}

// Rmdir implements vfs.Inode.
func (d *Dir) Rmdir(_ vfs.Caller, name string, _ vfs.Inode) error {
	if d.RemoveDir == nil {
		return unix.EPERM
	}
	return d.RemoveDir(name)
}

// Lookup implements vfs.Inode.
func (d *Dir) Lookup(name string) (vfs.Inode, error) {
	if !d.Alive() {
		return nil, unix.ENOENT
	}
	if d.Find != nil {
		if i := d.Find(name); i != nil {
			return i, nil
		}
		return nil, unix.ENOENT
	}
	for _, e := range d.Entries() {
		if e.Name == name {
			return e.Make(), nil
		}
	}
	return nil, unix.ENOENT
}

// Open implements vfs.Inode.
func (d *Dir) Open(vfs.Caller, *vfs.Description) (vfs.File, error) { return openDir{d: d}, nil }

type openDir struct {
	vfs.DirectoryFile
	d *Dir
}

// ReadDir implements vfs.File. The position is the index of the next entry.
func (o openDir) ReadDir(_ vfs.Caller, fd *vfs.Description, pos *int64, emit func(vfs.Dirent) bool) error {
	if !o.d.Alive() {
		return unix.ENOENT
	}
	if !vfs.EmitDots(fd, pos, emit) {
		return nil
	}
	list := o.d.Entries()
	for *pos-2 < int64(len(list)) {
		e := list[*pos-2]
		if !emit(vfs.Dirent{Name: e.Name, Ino: e.Make().Attributes().Ino, Type: vfs.DirentType(e.Kind), Next: *pos + 1}) {
			return nil
		}
		*pos++
	}
	return nil
}

// Text is a file whose contents a function makes when it is read from the start.
type Text struct {
	vfs.Attrs
	vfs.NotDirectory
	Read   func(c vfs.Caller) ([]byte, error)           // nil: write-only
	Write  func(c vfs.Caller, data []byte) error        // nil: read-only
	Living func() bool                                  // not nil: ENODEV when what the file tells of is gone
	Watch  func(c vfs.Caller) News                      // not nil: poll tells of changes
	Check  func(c vfs.Caller, d *vfs.Description) error // not nil: may refuse to open
}

// News is a text whose changes can be waited for.
type News struct {
	Source wait.Source
	Epoch  func() uint64 // changes with the contents
	Once   bool          // poll itself takes note of the change, not the next read
}

// Truncate implements vfs.Inode: opening with O_TRUNC is allowed and does nothing.
func (t *Text) Truncate(vfs.Caller, int64) error { return nil }

// Open implements vfs.Inode.
func (t *Text) Open(c vfs.Caller, d *vfs.Description) (vfs.File, error) {
	if t.Check != nil {
		if err := t.Check(c, d); err != nil {
			return nil, err
		}
	}
	o := &openText{t: t}
	if t.Watch == nil {
		return o, nil
	}
	w := &watchedText{openText: o, news: t.Watch(c)}
	o.seen = func() { w.epoch = w.news.Epoch() }
	w.epoch = w.news.Epoch()
	return w, nil
}

type openText struct {
	vfs.SeekableFile
	t    *Text
	seen func()

	mu   sync.Mutex
	data []byte
	have bool
}

// Pollable implements vfs.Poller: an ordinary text is always ready, and epoll refuses it.
func (*openText) Pollable() bool { return false }

// Read implements vfs.File.
func (o *openText) Read(c vfs.Caller, _ *vfs.Description, dst vfs.Buffer, pos *int64) (int, error) {
	switch {
	case o.t.Living != nil && !o.t.Living():
		return 0, unix.ENODEV
	case o.t.Read == nil:
		return 0, unix.EINVAL
	}
	o.mu.Lock()
	if *pos == 0 || !o.have {
		if o.seen != nil {
			o.seen()
		}
		data, err := o.t.Read(c)
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
	if o.t.Write == nil {
		return 0, unix.EINVAL
	}
	data := make([]byte, min(src.Len(), vfs.PageSize))
	if _, err := src.CopyIn(0, data); err != nil {
		return 0, err
	}
	if err := o.t.Write(c, bytes.TrimRight(data, "\n\x00")); err != nil {
		return 0, err
	}
	*pos += int64(src.Len())
	return src.Len(), nil
}

// watchedText is a text that poll tells changes of.
type watchedText struct {
	*openText
	news  News
	epoch uint64 // seen last; guarded by openText.mu
}

// Pollable implements vfs.Poller.
func (*watchedText) Pollable() bool { return true }

// Register implements wait.Source.
func (w *watchedText) Register(e *wait.Entry, m wait.Mask) { w.news.Source.Register(e, m) }

// Unregister implements wait.Source.
func (w *watchedText) Unregister(e *wait.Entry) { w.news.Source.Unregister(e) }

// Readiness implements vfs.File.
func (w *watchedText) Readiness(*vfs.Description) wait.Mask {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := wait.In | wait.RdNorm
	if !w.news.Once {
		m |= wait.Out | wait.WrNorm
	}
	if now := w.news.Epoch(); now != w.epoch {
		m |= wait.Err | wait.Pri
		if w.news.Once {
			w.epoch = now
		}
	}
	return m
}

// Link is a symbolic link.
type Link struct {
	vfs.Attrs
	vfs.NotDirectory
	Target func(c vfs.Caller) (string, error)
}

// Readlink implements vfs.Inode.
func (l *Link) Readlink(c vfs.Caller) (string, error) { return l.Target(c) }

// Jump is a symbolic link to an object.
type Jump struct {
	vfs.Attrs
	vfs.NotDirectory
	To func(c vfs.Caller) (vfs.Path, error)
}

// Size implements vfs.Inode.
func (j *Jump) Size() (int64, int64) { return 64, 0 }

// Readlink implements vfs.Inode.
func (j *Jump) Readlink(c vfs.Caller) (string, error) {
	p, err := j.To(c)
	if err != nil {
		return "", err
	}
	name, _ := p.From(c.FS().Root())
	return name, nil
}

// Jump implements vfs.MagicLink.
func (j *Jump) Jump(c vfs.Caller) (vfs.Path, error) { return j.To(c) }
