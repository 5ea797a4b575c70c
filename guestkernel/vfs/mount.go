package vfs

import (
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/wait"
)

// Mount is a filesystem instance at a place in a namespace.
type Mount struct {
	ID     int
	Source string // what mount(2) was given as source: for /proc/mounts

	flags     atomic.Uint64 // MS_*
	sb        *Superblock
	root      *Dentry
	ns        atomic.Pointer[Namespace] // nil: in none
	anonymous bool

	// Guarded by mountTable.
	parent     *Mount
	point      *Dentry
	children   []*Mount
	peers      *peerGroup // shared: what is mounted here is mounted on all of them (propagate.go)
	master     *peerGroup // slave: what is mounted there is mounted here
	unbindable bool
	locked     bool // came from a more privileged namespace: stays where it is

	holds   atomic.Int64 // open descriptions, roots and working directories
	settled atomic.Bool  // has let go of the filesystem

	writers  atomic.Int64 // descriptions open for writing
	expiring atomic.Bool  // marked by MNT_EXPIRE
}

// mountTable guards the shape of all namespaces: mounts spread from one to others.
var mountTable sync.RWMutex

// Namespace is a tree of mounts.
type Namespace struct {
	Ino   uint64         // what /proc/PID/ns/mnt shows
	Owner *UserNamespace // whose CAP_SYS_ADMIN may change it

	users  atomic.Int64
	mounts map[mountKey]*Mount
	order  []*Mount // as mounted
	root   *Mount   // hidden below what everybody sees as the root, as Linux's rootfs is
	events wait.Queue
	epoch  atomic.Uint64 // counts changes, for whoever polls /proc/self/mounts
}

type mountKey struct {
	parent *Mount
	point  *Dentry
}

var lastMountID atomic.Int64

// FirstNamespaceIno is the number of the namespace that the kernel starts with (PROC_MNT_INIT_INO, since Linux 6.18).
const FirstNamespaceIno = 0xeffffff8

// NewNamespace answers a namespace with sb mounted at its root.
func NewNamespace(sb *Superblock, source string, flags uintptr) *Namespace {
	ns := &Namespace{Ino: FirstNamespaceIno, mounts: make(map[mountKey]*Mount)}
	ns.users.Store(1)
	bare := &Superblock{FS: bareFS{}, Dev: NewDev()}
	bare.root = &Dentry{sb: bare, inode: newBareRoot(bare.Dev)}
	ns.root = newMount(bare, bare.root, "rootfs", 0)
	ns.root.ns.Store(ns)
	ns.order = []*Mount{ns.root}
	mountTable.Lock()
	defer mountTable.Unlock()
	newMount(sb, sb.root, source, flags).attach(ns.root, bare.root)
	return ns
}

func newMount(sb *Superblock, root *Dentry, source string, flags uintptr) *Mount {
	m := &Mount{ID: int(lastMountID.Add(1)), Source: source, sb: sb, root: root}
	m.flags.Store(uint64(flags))
	sb.mounted.Add(1)
	return m
}

// bareFS is the filesystem below the root.
type bareFS struct{}

func (bareFS) Type() string   { return "rootfs" }
func (bareFS) Root() Inode    { return nil }
func (bareFS) Statfs() Statfs { return Statfs{Magic: unix.RAMFS_MAGIC, Bsize: PageSize} }

type bareRoot struct {
	Attrs
	ReadOnlyDirectory
}

func newBareRoot(dev uint64) *bareRoot {
	r := &bareRoot{}
	r.Init(dev, 1, unix.S_IFDIR|0o755, 0, 0)
	return r
}

func (*bareRoot) Lookup(string) (Inode, error)            { return nil, unix.ENOENT }
func (*bareRoot) Open(Caller, *Description) (File, error) { return nil, unix.EACCES }

// Root is the namespace's root directory.
func (ns *Namespace) Root() Path { return ns.root.Root().top() }

// Mounts answers all mounts in the order they were made, but for the hidden one below the root.
func (ns *Namespace) Mounts() []*Mount {
	mountTable.RLock()
	defer mountTable.RUnlock()
	return append([]*Mount(nil), ns.order[1:]...)
}

// Register and Unregister are the queue that is told when mounts come or go; Epoch counts such changes.
func (ns *Namespace) Register(e *wait.Entry, m wait.Mask) { ns.events.Register(e, m) }

// Unregister takes an entry off the queue.
func (ns *Namespace) Unregister(e *wait.Entry) { ns.events.Unregister(e) }

// Epoch is the number of changes so far.
func (ns *Namespace) Epoch() uint64 { return ns.epoch.Load() }

func (ns *Namespace) changed() {
	ns.epoch.Add(1)
	ns.events.Notify(wait.Err | wait.Pri)
}

// Hold adds a user of the namespace, Drop takes one away: the last one unmounts everything.
func (ns *Namespace) Hold() { ns.users.Add(1) }

// Drop takes a user away.
func (ns *Namespace) Drop() {
	if ns.users.Add(-1) > 0 {
		return
	}
	mountTable.Lock()
	gone := append([]*Mount(nil), ns.order...)
	for _, m := range gone {
		if m.parent != nil {
			m.detach()
		}
		m.ns.Store(nil)
		m.leavePeers()
	}
	mountTable.Unlock()
	for _, m := range gone {
		m.settle()
	}
}

// Superblock is the filesystem instance that is mounted.
func (m *Mount) Superblock() *Superblock { return m.sb }

// Namespace is the namespace the mount is in; nil for the mount of anonymous files.
func (m *Mount) Namespace() *Namespace { return m.ns.Load() }

// Root is the mount's root directory.
func (m *Mount) Root() Path { return Path{m, m.root} }

// Flags are the mount's MS_* flags.
func (m *Mount) Flags() uintptr { return uintptr(m.flags.Load()) }

// ReadOnly reports MS_RDONLY, of the mount or of the filesystem.
func (m *Mount) ReadOnly() bool { return m.Flags()&unix.MS_RDONLY != 0 || m.sb.ReadOnly.Load() }

func (m *Mount) hold() {
	m.holds.Add(1)
	m.expiring.Store(false)
}

func (m *Mount) drop() {
	if m.holds.Add(-1) == 0 && m.ns.Load() == nil {
		m.settle()
	}
}

// settle lets go of the filesystem when nothing uses the mount any more.
func (m *Mount) settle() {
	if m.anonymous || m.ns.Load() != nil || m.holds.Load() != 0 || !m.settled.CompareAndSwap(false, true) {
		return
	}
	if m.sb.mounted.Add(-1) == 0 {
		m.sb.shutdown()
	}
}

// place answers where the mount is: nil for a root.
func (m *Mount) place() (*Mount, *Dentry) {
	mountTable.RLock()
	defer mountTable.RUnlock()
	return m.parent, m.point
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
	for p.Dentry.mounts.Load() > 0 {
		mountTable.RLock()
		m := p.Mount.childAt(p.Dentry)
		mountTable.RUnlock()
		if m == nil {
			break
		}
		p = m.Root()
	}
	return p
}

// childAt answers what is mounted on a dentry of m. mountTable is held.
func (m *Mount) childAt(point *Dentry) *Mount {
	ns := m.ns.Load()
	if ns == nil {
		return nil
	}
	return ns.mounts[mountKey{m, point}]
}

// attach puts m, with what is mounted below it, on a place in parent's namespace. mountTable is held for writing.
func (m *Mount) attach(parent *Mount, point *Dentry) {
	ns := parent.ns.Load()
	m.parent, m.point = parent, point
	ns.mounts[mountKey{parent, point}] = m
	parent.children = append(parent.children, m)
	point.mounts.Add(1)
	if m.ns.Load() != ns {
		m.enter(ns)
	}
	ns.changed()
}

// enter moves m and what is below it to a namespace's table.
func (m *Mount) enter(ns *Namespace) {
	m.ns.Store(ns)
	ns.order = append(ns.order, m)
	for _, c := range m.children {
		ns.mounts[mountKey{m, c.point}] = c
		c.enter(ns)
	}
}

// detach takes m alone out of its namespace. mountTable is held for writing.
func (m *Mount) detach() {
	ns := m.ns.Load()
	m.unhook()
	m.ns.Store(nil)
	ns.order = slices.DeleteFunc(ns.order, func(o *Mount) bool { return o == m })
}

// unhook takes m from its place; it stays in the namespace, to be attached again. mountTable is held for writing.
func (m *Mount) unhook() {
	ns := m.ns.Load()
	delete(ns.mounts, mountKey{m.parent, m.point})
	m.point.mounts.Add(-1)
	m.parent.children = slices.DeleteFunc(m.parent.children, func(o *Mount) bool { return o == m })
	m.parent, m.point = nil, nil
	ns.changed()
}

// tree lists m and all below it, parents first. mountTable is held.
func (m *Mount) tree() []*Mount {
	list := []*Mount{m}
	for i := 0; i < len(list); i++ {
		list = append(list, list[i].children...)
	}
	return list
}

// MountAt mounts sb on the directory at. Privileges are the caller's business. Errors: ENOTDIR, ENOENT, EINVAL, EBUSY.
func MountAt(sb *Superblock, source string, flags uintptr, at Path) (*Mount, error) {
	m := newMount(sb, sb.root, source, flags)
	if err := m.mountOn(at); err != nil {
		m.settle()
		return nil, err
	}
	return m, nil
}

// mountOn attaches a tree that is nowhere yet on at, and wherever at's mount spreads to.
func (m *Mount) mountOn(at Path) error {
	at = at.top()
	if at.Dentry.isDir() != m.root.isDir() {
		return unix.ENOTDIR
	}
	tree := &at.Dentry.sb.tree
	tree.Lock()
	defer tree.Unlock()
	if at.Dentry.dead {
		return unix.ENOENT
	}
	mountTable.Lock()
	defer mountTable.Unlock()
	if at.Mount.ns.Load() == nil {
		return unix.EINVAL
	}
	if at.Mount.childAt(at.Dentry) != nil {
		return unix.EBUSY
	}
	if at.Mount.peers != nil {
		for _, o := range m.tree() {
			if o.unbindable {
				return unix.EINVAL
			}
		}
	}
	at.Dentry.pin()
	m.attach(at.Mount, at.Dentry)
	m.spread()
	return nil
}

// pin keeps a dentry while something is mounted on it, in a dynamic filesystem too. The tree is locked for writing.
func (d *Dentry) pin() {
	if d.parent != nil {
		d.parent.remember(d)
	}
}

// Top follows what is mounted on p: mount(2) and umount(2) mean the mount on top of a path.
func (p Path) Top() Path { return p.top() }

// Expire is MNT_EXPIRE: it unmounts what nobody has used since the last call, and marks it otherwise. Errors: EAGAIN, EBUSY.
func (m *Mount) Expire() error {
	if m.holds.Load() > 0 {
		return unix.EBUSY
	}
	if !m.expiring.Swap(true) {
		return unix.EAGAIN
	}
	return m.Unmount(false)
}

// Unmount takes m out of its namespace: EBUSY while it is used, unless lazy, EINVAL for the root of the namespace and for mounts that a more privileged
// namespace made.
func (m *Mount) Unmount(lazy bool) error {
	mountTable.Lock()
	if m.ns.Load() == nil || m.parent == nil || m.locked {
		mountTable.Unlock()
		return unix.EINVAL
	}
	if !lazy && (len(m.children) > 0 || m.holds.Load() > 0) {
		mountTable.Unlock()
		return unix.EBUSY
	}
	if m.parent.parent == nil && m.parent.point == nil && !lazy {
		mountTable.Unlock()
		return unix.EBUSY // the root: Linux makes it read-only instead, which somebody's open file prevents
	}
	gone := m.unmountLocked()
	mountTable.Unlock()
	for _, g := range gone {
		g.settle()
	}
	return nil
}

// unmountLocked removes m with all below it, and its copies where it had spread to, and answers what was removed.
func (m *Mount) unmountLocked() (gone []*Mount) {
	for _, c := range m.copies() {
		if len(c.children) == 0 && !c.locked {
			gone = append(gone, c)
		}
	}
	gone = append(gone, m.tree()...)
	for _, g := range gone {
		if g.parent != nil {
			g.detach()
		}
		g.leavePeers()
	}
	return gone
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
func DetachedMount(sb *Superblock) *Mount {
	m := newMount(sb, sb.root, "none", 0)
	m.hold()
	return m
}

// Unlinked answers a path for an inode that has no entry in dir, as if it had been removed from there.
func Unlinked(dir Path, name string, i Inode) Path {
	return Path{dir.Mount, &Dentry{sb: dir.Dentry.sb, inode: i, parent: dir.Dentry, name: name, dead: true}}
}

// Anonymous answers a path for a file that has no place in a tree; name is what /proc/self/fd shows ("pipe:[12]").
func (m *Mount) Anonymous(name string, i Inode) Path {
	return Path{m, &Dentry{sb: m.sb, inode: i, name: name}}
}
