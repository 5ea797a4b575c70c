package vfs

import (
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Filesystem is a mountable filesystem instance, below its superblock.
type Filesystem interface {
	// Type is the name in /proc/filesystems: "tmpfs".
	Type() string
	// Root is the root directory's inode.
	Root() Inode
	// Statfs fills what statfs(2) reports.
	Statfs() Statfs
}

// Statfs is what statfs(2) reports. Sizes are in blocks of Bsize bytes.
type Statfs struct {
	Magic                int64
	Bsize                int64
	Blocks, Bfree, Files uint64
	Ffree                uint64
	Fsid                 uint64
}

// Superblock is a filesystem instance with its dentry tree.
type Superblock struct {
	FS  Filesystem
	Dev uint64

	// Dynamic filesystems make their entries on the fly: dentries are remembered only while something is mounted on them.
	Dynamic bool

	// ReadOnly refuses all changes, through whatever mount.
	ReadOnly atomic.Bool

	tree    sync.RWMutex // guards the shape of the dentry tree and orders directory operations
	root    *Dentry
	mounted atomic.Int64 // mounts
	writers atomic.Int64 // descriptions open for writing
}

// Begin sets whether a filesystem that is not mounted yet is read-only.
func (s *Superblock) Begin(readOnly bool) {
	if s.mounted.Load() == 0 {
		s.ReadOnly.Store(readOnly)
	}
}

// SetReadOnly changes it: EBUSY while a file is open for writing.
func (s *Superblock) SetReadOnly(on bool) error {
	if on && s.writers.Load() > 0 {
		return unix.EBUSY
	}
	s.ReadOnly.Store(on)
	return nil
}

// shutdown frees what the filesystem holds when it is mounted nowhere any more and nobody has a file of it open.
func (s *Superblock) shutdown() {
	if f, ok := s.FS.(interface{ Shutdown() }); ok {
		f.Shutdown()
	}
}

// Root is the dentry of the root directory.
func (s *Superblock) Root() *Dentry { return s.root }

var lastMinor atomic.Uint32

// NewDev answers a device number for a filesystem without device (major 0).
func NewDev() uint64 { return unix.Mkdev(0, lastMinor.Add(1)) }

// NewSuperblock answers the superblock of fs, whose inodes carry dev.
func NewSuperblock(fs Filesystem, dev uint64, dynamic bool) *Superblock {
	s := &Superblock{FS: fs, Dev: dev, Dynamic: dynamic}
	s.root = &Dentry{sb: s, inode: fs.Root()}
	return s
}

// Dentry is a name in a directory and the inode it stands for. Directories have exactly one dentry, files one for each hard link.
type Dentry struct {
	sb    *Superblock
	inode Inode // never changes

	// Guarded by sb.tree.
	parent   *Dentry // nil for a root and for anonymous files
	name     string
	children map[string]*Dentry
	dead     bool // unlinked or removed

	mounts atomic.Int32 // mounts on this dentry, in any namespace
}

// Inode is what the dentry stands for.
func (d *Dentry) Inode() Inode { return d.inode }

// Superblock is the filesystem instance the dentry is in.
func (d *Dentry) Superblock() *Superblock { return d.sb }

func (d *Dentry) isDir() bool { return d.inode.Attributes().IsDir() }

// cached answers the child that is remembered under name. The tree lock is held.
func (d *Dentry) cached(name string) *Dentry {
	c := d.children[name]
	if c != nil {
		if r, ok := c.inode.(Revalidator); ok && !r.Alive() {
			return nil
		}
	}
	return c
}

// child answers the entry name of the directory d, or ENOENT.
func (d *Dentry) child(name string) (*Dentry, error) {
	if len(name) > unix.NAME_MAX {
		return nil, unix.ENAMETOOLONG
	}
	d.sb.tree.RLock()
	c := d.cached(name)
	if c != nil || d.sb.Dynamic {
		defer d.sb.tree.RUnlock()
		if c != nil {
			return c, nil
		}
		i, err := d.inode.Lookup(name)
		if err != nil {
			return nil, err
		}
		return &Dentry{sb: d.sb, inode: i, parent: d, name: name}, nil
	}
	d.sb.tree.RUnlock()
	d.sb.tree.Lock()
	defer d.sb.tree.Unlock()
	return d.childLocked(name)
}

// childLocked is child with the tree locked for writing.
func (d *Dentry) childLocked(name string) (*Dentry, error) {
	if len(name) > unix.NAME_MAX {
		return nil, unix.ENAMETOOLONG
	}
	if c := d.cached(name); c != nil {
		return c, nil
	}
	if d.dead {
		return nil, unix.ENOENT
	}
	i, err := d.inode.Lookup(name)
	if err != nil {
		return nil, err
	}
	return d.attach(name, i), nil
}

// attach makes the dentry of a new entry. The tree is locked for writing.
func (d *Dentry) attach(name string, i Inode) *Dentry {
	c := &Dentry{sb: d.sb, inode: i, parent: d, name: name}
	if !d.sb.Dynamic {
		d.remember(c)
	}
	return c
}

func (d *Dentry) remember(c *Dentry) {
	if d.children == nil {
		d.children = make(map[string]*Dentry)
	}
	d.children[c.name] = c
}

// detach forgets the entry after it was unlinked. The tree is locked for writing.
func (d *Dentry) detach() {
	if d.parent != nil && d.parent.children[d.name] == d {
		delete(d.parent.children, d.name)
	}
	d.dead = true
}

// move gives d another place in the tree. The tree is locked for writing.
func (d *Dentry) move(parent *Dentry, name string) {
	if d.parent.children[d.name] == d {
		delete(d.parent.children, d.name)
	}
	d.parent, d.name = parent, name
	if !d.sb.Dynamic {
		parent.remember(d)
	}
}

// below reports whether d is ancestor or lies below it. The tree lock is held.
func (d *Dentry) below(ancestor *Dentry) bool {
	for ; d != nil; d = d.parent {
		if d == ancestor {
			return true
		}
	}
	return false
}

// PathInFS names the dentry from the root of its filesystem: the root column of /proc/PID/mountinfo.
func (d *Dentry) PathInFS() string {
	d.sb.tree.RLock()
	defer d.sb.tree.RUnlock()
	name := ""
	for ; d.parent != nil; d = d.parent {
		name = "/" + d.name + name
	}
	if name == "" {
		return "/"
	}
	return name
}

// Path is a dentry as seen through a mount: what cwd, root and open files hold.
type Path struct {
	Mount  *Mount
	Dentry *Dentry
}

// Inode is the object at the path.
func (p Path) Inode() Inode { return p.Dentry.inode }

// String names the path from the root of its namespace, like d_path does: "/a/b", "/a/b (deleted)".
func (p Path) String() string {
	s, _ := p.From(Path{})
	return s
}

// From names the path as seen from root (the zero Path: the namespace's root). reachable is false when it does not lie below.
func (p Path) From(root Path) (name string, reachable bool) {
	if p.Mount == nil {
		return p.Dentry.name, false
	}
	if p.Dentry.parent == nil && p.Mount.anonymous {
		return p.Dentry.name, true
	}
	var parts []string
	deleted := false
	m, d := p.Mount, p.Dentry
	for {
		if m == root.Mount && d == root.Dentry {
			reachable = true
			break
		}
		if d == m.root {
			parent, point := m.place()
			if parent == nil {
				reachable = root.Mount == nil
				break
			}
			m, d = parent, point
			continue
		}
		d.sb.tree.RLock()
		parts = append(parts, d.name)
		deleted = deleted || d.dead
		d = d.parent
		d.sb.tree.RUnlock()
	}
	var b strings.Builder
	for i := len(parts) - 1; i >= 0; i-- {
		b.WriteByte('/')
		b.WriteString(parts[i])
	}
	if b.Len() == 0 {
		b.WriteByte('/')
	}
	if deleted {
		b.WriteString(" (deleted)")
	}
	return b.String(), reachable
}

// Deleted reports whether the path's entry was removed.
func (p Path) Deleted() bool {
	p.Dentry.sb.tree.RLock()
	defer p.Dentry.sb.tree.RUnlock()
	return p.Dentry.dead
}
