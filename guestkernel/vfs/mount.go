package vfs

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Mount is a filesystem instance at a place in a namespace.
type Mount struct {
	ID     int
	Source string // what mount(2) was given as source: for /proc/mounts

	flags     atomic.Uint64 // MS_*
	sb        *Superblock
	root      *Dentry
	ns        *Namespace
	anonymous bool

	// Guarded by ns.mu.
	parent *Mount
	point  *Dentry

	holds atomic.Int64 // open descriptions, roots and working directories
}

// Namespace is a tree of mounts.
type Namespace struct {
	mu     sync.RWMutex
	mounts map[mountKey]*Mount
	order  []*Mount // as mounted
	root   *Mount
}

type mountKey struct {
	parent *Mount
	point  *Dentry
}

var lastMountID atomic.Int64

// NewNamespace answers a namespace with sb mounted at its root.
func NewNamespace(sb *Superblock, source string, flags uintptr) *Namespace {
	ns := &Namespace{mounts: make(map[mountKey]*Mount)}
	ns.root = newMount(ns, sb, sb.root, source, flags)
	ns.order = []*Mount{ns.root}
	return ns
}

func newMount(ns *Namespace, sb *Superblock, root *Dentry, source string, flags uintptr) *Mount {
	m := &Mount{ID: int(lastMountID.Add(1)), Source: source, sb: sb, root: root, ns: ns}
	m.flags.Store(uint64(flags))
	return m
}

// Root is the namespace's root directory.
func (ns *Namespace) Root() Path { return Path{ns.root, ns.root.root} }

// Mounts answers all mounts in the order they were made.
func (ns *Namespace) Mounts() []*Mount {
	ns.mu.RLock()
	defer ns.mu.RUnlock()
	return append([]*Mount(nil), ns.order...)
}

// Superblock is the filesystem instance that is mounted.
func (m *Mount) Superblock() *Superblock { return m.sb }

// Namespace is the namespace the mount is in; nil for the mount of anonymous files.
func (m *Mount) Namespace() *Namespace { return m.ns }

// Root is the mount's root directory.
func (m *Mount) Root() Path { return Path{m, m.root} }

// Flags are the mount's MS_* flags.
func (m *Mount) Flags() uintptr { return uintptr(m.flags.Load()) }

// ReadOnly reports MS_RDONLY.
func (m *Mount) ReadOnly() bool { return m.Flags()&unix.MS_RDONLY != 0 }

func (m *Mount) hold() { m.holds.Add(1) }
func (m *Mount) drop() { m.holds.Add(-1) }

// place answers where the mount is: nil for a root.
func (m *Mount) place() (*Mount, *Dentry) {
	if m.ns == nil {
		return nil, nil
	}
	m.ns.mu.RLock()
	defer m.ns.mu.RUnlock()
	return m.parent, m.point
}

// Mountpoint is the path the mount is on, as /proc/mounts shows it.
func (m *Mount) Mountpoint() Path {
	parent, point := m.place()
	if parent == nil {
		return m.Root()
	}
	return Path{parent, point}
}

// Parent is the mount this one lies on; itself for a root.
func (m *Mount) Parent() *Mount {
	if parent, _ := m.place(); parent != nil {
		return parent
	}
	return m
}

// top follows the mounts on p to the directory that is seen there.
func (p Path) top() Path {
	for p.Dentry.mounts.Load() > 0 && p.Mount.ns != nil {
		p.Mount.ns.mu.RLock()
		m := p.Mount.ns.mounts[mountKey{p.Mount, p.Dentry}]
		p.Mount.ns.mu.RUnlock()
		if m == nil {
			break
		}
		p = m.Root()
	}
	return p
}

// MountAt mounts sb on the directory at. Privileges are the caller's business.
func MountAt(sb *Superblock, source string, flags uintptr, at Path) (*Mount, error) {
	return mountAt(sb, sb.root, source, flags, at)
}

func mountAt(sb *Superblock, root *Dentry, source string, flags uintptr, at Path) (*Mount, error) {
	at = at.top()
	ns := at.Mount.ns
	if ns == nil {
		return nil, unix.EINVAL
	}
	if at.Dentry.isDir() != root.isDir() {
		return nil, unix.ENOTDIR
	}
	tree := &at.Dentry.sb.tree
	tree.Lock()
	defer tree.Unlock()
	if at.Dentry.dead {
		return nil, unix.ENOENT
	}
	m := newMount(ns, sb, root, source, flags)
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if ns.mounts[mountKey{at.Mount, at.Dentry}] != nil {
		return nil, unix.EBUSY
	}
	m.parent, m.point = at.Mount, at.Dentry
	ns.mounts[mountKey{at.Mount, at.Dentry}] = m
	ns.order = append(ns.order, m)
	at.Dentry.mounts.Add(1)
	if at.Dentry.parent != nil {
		at.Dentry.parent.remember(at.Dentry) // pinned, in a dynamic filesystem too
	}
	return m, nil
}

// Unmount takes m out of its namespace: EBUSY while it is used, unless lazy, EINVAL for the root of the namespace.
func (m *Mount) Unmount(lazy bool) error {
	ns := m.ns
	if ns == nil {
		return unix.EINVAL
	}
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if m.parent == nil {
		return unix.EINVAL
	}
	var gone []*Mount
	for _, o := range ns.order {
		for a := o; a != nil; a = a.parent {
			if a == m {
				gone = append(gone, o)
				break
			}
		}
	}
	if !lazy && (len(gone) > 1 || m.holds.Load() > 0) {
		return unix.EBUSY
	}
	for _, g := range gone {
		delete(ns.mounts, mountKey{g.parent, g.point})
		g.point.mounts.Add(-1)
	}
	kept := ns.order[:0]
	for _, o := range ns.order {
		if _, ok := ns.mounts[mountKey{o.parent, o.point}]; ok || o == ns.root {
			kept = append(kept, o)
		}
	}
	clear(ns.order[len(kept):])
	ns.order = kept
	for _, g := range gone {
		g.parent, g.point = nil, nil
	}
	return nil
}

// anonymousFS is where files without a path live: pipes, sockets, eventfds.
type anonymousFS struct{ kind string }

func (a anonymousFS) Type() string { return a.kind }
func (anonymousFS) Root() Inode    { return nil }
func (a anonymousFS) Statfs() Statfs {
	magic := int64(unix.ANON_INODE_FS_MAGIC)
	if a.kind == "pipefs" {
		magic = unix.PIPEFS_MAGIC
	} else if a.kind == "sockfs" {
		magic = unix.SOCKFS_MAGIC
	}
	return Statfs{Magic: magic, Bsize: PageSize}
}

// AnonymousMount answers a mount that is in no namespace, for files of one kind ("pipefs", "anon_inodefs").
func AnonymousMount(kind string) *Mount {
	sb := &Superblock{FS: anonymousFS{kind}, Dev: NewDev()}
	return &Mount{ID: int(lastMountID.Add(1)), Source: kind, sb: sb, anonymous: true}
}

// DetachedMount answers a mount of sb that is in no namespace: for files that the kernel keeps in a filesystem of its own.
func DetachedMount(sb *Superblock) *Mount { return newMount(nil, sb, sb.root, "none", 0) }

// Unlinked answers a path for an inode that has no entry in dir, as if it had been removed from there.
func Unlinked(dir Path, name string, i Inode) Path {
	return Path{dir.Mount, &Dentry{sb: dir.Dentry.sb, inode: i, parent: dir.Dentry, name: name, dead: true}}
}

// Anonymous answers a path for a file that has no place in a tree; name is what /proc/self/fd shows ("pipe:[12]").
func (m *Mount) Anonymous(name string, i Inode) Path {
	return Path{m, &Dentry{sb: m.sb, inode: i, name: name}}
}
