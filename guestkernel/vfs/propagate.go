package vfs

import (
	"slices"

	"golang.org/x/sys/unix"
)

// peerGroup is the mounts that share what is mounted on one of them (mount_namespaces(7), shared subtrees). Guarded by mountTable.
type peerGroup struct {
	id      int
	members []*Mount
	slaves  []*Mount // whose master it is
}

var peerGroups = map[int]*peerGroup{} // by id; guarded by mountTable

func newPeerGroup() *peerGroup {
	g := &peerGroup{id: 1}
	for peerGroups[g.id] != nil {
		g.id++
	}
	peerGroups[g.id] = g
	return g
}

func without(list []*Mount, m *Mount) []*Mount {
	return slices.DeleteFunc(list, func(o *Mount) bool { return o == m })
}

// join makes m a peer of the group.
func (g *peerGroup) join(m *Mount) {
	m.peers = g
	g.members = append(g.members, m)
}

// enslave makes m a slave of the group.
func (g *peerGroup) enslave(m *Mount) {
	m.master = g
	g.slaves = append(g.slaves, m)
}

// leavePeers makes m private.
func (m *Mount) leavePeers() {
	m.leaveGroup()
	if m.master != nil {
		m.master.slaves = without(m.master.slaves, m)
		m.master = nil
	}
}

// leaveGroup takes m out of its peer group. The slaves of a group without members go to the group above.
func (m *Mount) leaveGroup() {
	g := m.peers
	if g == nil {
		return
	}
	m.peers = nil
	if g.members = without(g.members, m); len(g.members) > 0 {
		return
	}
	delete(peerGroups, g.id)
	for _, s := range g.slaves {
		s.master = nil
		if m.master != nil {
			m.master.enslave(s)
		}
	}
	g.slaves = nil
}

// spreads calls fn for the mounts that an event on m spreads to, with what it becomes there: from is the mount that the copy is made of.
func spreads(m *Mount, made *Mount, fn func(to, from *Mount, slave bool) *Mount) {
	if m.peers == nil {
		return
	}
	seen := map[*Mount]bool{m: true}
	var group func(g *peerGroup, source *Mount)
	group = func(g *peerGroup, source *Mount) {
		for _, p := range slices.Clone(g.members) {
			if !seen[p] {
				seen[p] = true
				fn(p, source, false)
			}
		}
		for _, s := range slices.Clone(g.slaves) {
			if seen[s] {
				continue
			}
			seen[s] = true
			copied := fn(s, source, true)
			if s.peers != nil && copied != nil {
				group(s.peers, copied)
			}
		}
	}
	group(m.peers, made)
}

// spread copies m, which was just attached, to where its parent's events spread to; what lands on shared mounts is shared. mountTable is held
// for writing.
func (m *Mount) spread() {
	parent, point := m.parent, m.point
	if parent.peers == nil {
		return
	}
	for _, o := range m.tree() {
		if o.peers == nil {
			newPeerGroup().join(o)
		}
	}
	spreads(parent, m, func(to, from *Mount, slave bool) *Mount {
		if to.ns.Load() == nil || !point.below(to.root) || to.childAt(point) != nil {
			return nil
		}
		c := from.copyTree(true, slave)
		for _, o := range c.tree() {
			if slave && to.peers != nil && o.peers == nil {
				newPeerGroup().join(o)
			}
		}
		c.attach(to, point)
		return c
	})
}

// copies answers where m had spread to: what is mounted at the same place of its parent's peers and slaves.
func (m *Mount) copies() (list []*Mount) {
	if m.parent == nil {
		return nil
	}
	point := m.point
	spreads(m.parent, m, func(to, _ *Mount, _ bool) *Mount {
		c := to.childAt(point)
		if c != nil && c.sb == m.sb {
			list = append(list, c)
			return c
		}
		return m
	})
	return list
}

// copyOne answers a copy of the mount alone: a peer of a shared one (or its slave), another slave of a slave's master.
func (m *Mount) copyOne(root *Dentry, slave bool) *Mount {
	c := newMount(m.sb, root, m.Source, m.Flags())
	c.locked = m.locked
	switch {
	case m.peers != nil && slave:
		m.peers.enslave(c)
	case m.peers != nil:
		m.peers.join(c)
		fallthrough
	default:
		if m.master != nil {
			m.master.enslave(c)
		}
	}
	return c
}

// copyTree copies m and what is mounted below; all says to take unbindable mounts along. mountTable is held for writing.
func (m *Mount) copyTree(all, slave bool) *Mount {
	c := m.copyOne(m.root, slave)
	c.unbindable = m.unbindable
	c.copyChildren(m, m.root, all, slave)
	return c
}

// copyChildren copies what is mounted on from below top.
func (m *Mount) copyChildren(from *Mount, top *Dentry, all, slave bool) {
	for _, c := range from.children {
		if !c.point.below(top) || c.unbindable && !all {
			continue
		}
		k := c.copyTree(all, slave)
		k.parent, k.point = m, c.point
		k.point.mounts.Add(1)
		m.children = append(m.children, k)
	}
}

// forget undoes a copy that could not be attached. mountTable is held for writing.
func (m *Mount) forget() {
	for _, o := range m.tree() {
		o.leavePeers()
		if o.point != nil {
			o.point.mounts.Add(-1)
		}
		o.parent, o.point = nil, nil
		if o.settled.CompareAndSwap(false, true) {
			o.sb.mounted.Add(-1) // the original still is
		}
	}
}

// Bind mounts the tree at from on the directory or file at: mount --bind, or --rbind with what is mounted below. Errors: EINVAL, ENOTDIR, ENOENT.
func Bind(from, at Path, recursive bool) (*Mount, error) {
	c, err := copyAt(from, recursive)
	if err != nil {
		return nil, err
	}
	if err := c.mountOn(at); err != nil {
		mountTable.Lock()
		c.forget()
		mountTable.Unlock()
		return nil, err
	}
	return c, nil
}

// copyAt copies the mount that from is in, seen from there.
func copyAt(from Path, recursive bool) (*Mount, error) {
	mountTable.Lock()
	defer mountTable.Unlock()
	m := from.Mount
	if m.unbindable {
		return nil, unix.EINVAL
	}
	if m.ns.Load() == nil && m.sb.FS.Type() != "nsfs" {
		return nil, unix.EINVAL
	}
	if !recursive {
		for _, k := range m.children {
			if k.locked && k.point.below(from.Dentry) {
				return nil, unix.EINVAL
			}
		}
	}
	c := m.copyOne(from.Dentry, false)
	c.locked = false
	if recursive {
		c.copyChildren(m, from.Dentry, false, false)
	}
	return c, nil
}

// Move is MS_MOVE: the mount at from, with what is mounted below, goes to at. Errors: EINVAL, ENOTDIR, ELOOP, ENOENT.
func Move(from, at Path) error {
	at = at.top()
	m := from.Mount
	if from != m.Root() {
		return unix.EINVAL
	}
	if at.Dentry.isDir() != m.root.isDir() {
		return unix.ENOTDIR
	}
	tree := &at.Dentry.sb.tree
	tree.Lock()
	defer tree.Unlock()
	mountTable.Lock()
	defer mountTable.Unlock()
	ns := m.ns.Load()
	switch {
	case ns == nil, ns != at.Mount.ns.Load(), m.parent == nil, m.parent.parent == nil && m.parent.point == nil, m.parent.peers != nil, m.locked:
		return unix.EINVAL
	case at.Dentry.dead:
		return unix.ENOENT
	}
	for a := at.Mount; a != nil; a = a.parent {
		if a == m {
			return unix.ELOOP
		}
	}
	if at.Mount.peers != nil {
		for _, o := range m.tree() {
			if o.unbindable {
				return unix.EINVAL
			}
		}
	}
	m.unhook()
	at.Dentry.pin()
	m.attach(at.Mount, at.Dentry)
	m.spread()
	return nil
}

// SetPropagation makes a mount, or a whole tree, MS_SHARED, MS_PRIVATE, MS_SLAVE or MS_UNBINDABLE.
func (m *Mount) SetPropagation(kind uintptr, recursive bool) {
	mountTable.Lock()
	defer mountTable.Unlock()
	list := []*Mount{m}
	if recursive {
		list = m.tree()
	}
	for _, o := range list {
		o.setPropagation(kind)
		if ns := o.ns.Load(); ns != nil {
			ns.changed()
		}
	}
}

func (m *Mount) setPropagation(kind uintptr) {
	switch kind {
	case unix.MS_SHARED:
		m.unbindable = false
		if m.peers == nil {
			newPeerGroup().join(m)
		}
	case unix.MS_SLAVE:
		g := m.peers
		if g == nil || len(g.members) == 1 {
			m.leaveGroup() // to its master, if it has one
			break
		}
		m.leavePeers()
		g.enslave(m)
	case unix.MS_PRIVATE, unix.MS_UNBINDABLE:
		m.leavePeers()
	}
	if kind != unix.MS_SHARED {
		m.unbindable = kind == unix.MS_UNBINDABLE
	}
}

// Propagation is what /proc/PID/mountinfo says of a mount: the numbers of its peer group and of its master's, 0 for none.
func (m *Mount) Propagation() (shared, master int, unbindable bool) {
	mountTable.RLock()
	defer mountTable.RUnlock()
	if m.peers != nil {
		shared = m.peers.id
	}
	if m.master != nil {
		master = m.master.id
	}
	return shared, master, m.unbindable
}

// SetFlags changes the flags of a mount. Errors: EBUSY (a file is open for writing and it would become read-only), EPERM (a more privileged
// namespace set what would go off).
func (m *Mount) SetFlags(flags uintptr) error {
	const locked = unix.MS_RDONLY | unix.MS_NODEV | unix.MS_NOSUID | unix.MS_NOEXEC
	switch {
	case m.locked && m.Flags()&locked&^flags != 0:
		return unix.EPERM
	case flags&unix.MS_RDONLY != 0 && m.Flags()&unix.MS_RDONLY == 0 && m.writers.Load() > 0:
		return unix.EBUSY
	}
	m.flags.Store(uint64(flags))
	if ns := m.ns.Load(); ns != nil {
		ns.changed()
	}
	return nil
}

// Copy is unshare(CLONE_NEWNS): a namespace with copies of all mounts, to which fs is moved. A namespace of another user namespace gets slaves of
// shared mounts, and may not take apart what it was given.
func (ns *Namespace) Copy(ino uint64, owner *UserNamespace, fs *FSContext) *Namespace {
	n := &Namespace{Ino: ino, Owner: owner, mounts: make(map[mountKey]*Mount)}
	n.users.Store(1)
	mountTable.Lock()
	foreign := owner != ns.Owner
	top := ns.root.copyTree(true, foreign)
	top.enter(n)
	n.root = top
	copies := make(map[*Mount]*Mount)
	var pair func(a, b *Mount)
	pair = func(a, b *Mount) {
		copies[a] = b
		b.locked = a.locked || foreign
		for i, c := range a.children {
			pair(c, b.children[i])
		}
	}
	pair(ns.root, top)
	mountTable.Unlock()
	fs.Move(func(p Path) Path {
		if c := copies[p.Mount]; c != nil {
			p.Mount = c
		}
		return p
	})
	return n
}

// PivotRoot is pivot_root(2): newRoot, a mount, becomes the root of the namespace and the old one goes to put. It answers the old root; the
// caller moves to newRoot whoever stood there. Errors: EINVAL, EBUSY, ENOENT, ENOTDIR.
func PivotRoot(c Caller, newRoot, put Path) (old Path, err error) {
	root := c.FS().Root()
	if !newRoot.Dentry.isDir() || !put.Dentry.isDir() {
		return Path{}, unix.ENOTDIR
	}
	put = put.top()
	tree := &put.Dentry.sb.tree
	tree.Lock()
	defer tree.Unlock()
	mountTable.Lock()
	defer mountTable.Unlock()
	rm, nm, pm := root.Mount, newRoot.Mount, put.Mount
	ns := nm.ns.Load()
	if ns == nil || ns != rm.ns.Load() || ns != pm.ns.Load() || nm.locked {
		return Path{}, unix.EINVAL
	}
	if pm.peers != nil || nm.parent != nil && nm.parent.peers != nil || rm.parent != nil && rm.parent.peers != nil {
		return Path{}, unix.EINVAL
	}
	switch {
	case newRoot.Dentry.dead || put.Dentry.dead:
		return Path{}, unix.ENOENT
	case nm == rm || pm == rm:
		return Path{}, unix.EBUSY
	case root.Dentry != rm.root, rm.parent == nil, newRoot.Dentry != nm.root, nm.parent == nil:
		return Path{}, unix.EINVAL
	case !reachable(put, newRoot), !reachable(newRoot, root):
		return Path{}, unix.EINVAL
	}
	above, point := rm.parent, rm.point
	nm.unhook()
	rm.unhook()
	put.Dentry.pin()
	nm.locked, rm.locked = nm.locked || rm.locked, false
	rm.attach(pm, put.Dentry)
	nm.attach(above, point)
	return root, nil
}

// reachable says whether p lies below root. mountTable is held.
func reachable(p, root Path) bool {
	m, d := p.Mount, p.Dentry
	for m != root.Mount {
		if m.parent == nil {
			return false
		}
		m, d = m.parent, m.point
	}
	return d.below(root.Dentry)
}
