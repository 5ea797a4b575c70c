package vfs

import (
	"sync"

	"golang.org/x/sys/unix"
)

// UserNamespace gives the user and group ids that programs see their meaning (user_namespaces(7)). Inside the kernel ids are those of the first
// namespace, which is nil; they are translated where they come from user space or go there.
type UserNamespace struct {
	Parent *UserNamespace // nil: the first
	Ino    uint64         // what /proc/PID/ns/user shows
	// OwnerUID and OwnerGID are the effective ids of who made the namespace.
	OwnerUID, OwnerGID uint32

	level int
	mu    sync.RWMutex
	uids  []IDExtent
	gids  []IDExtent
	deny  bool // setgroups(2) is switched off
}

// IDExtent maps Count ids from Inside on to those from Outside on. Outside is in terms of the first namespace.
type IDExtent struct{ Inside, Outside, Count uint32 }

// OverflowID stands for ids that a namespace has no name for.
const OverflowID = 65534

// InvalidID is what no user has.
const InvalidID = ^uint32(0)

// maxUserLevel is how deep user namespaces nest.
const maxUserLevel = 32

// NewUserNamespace answers a namespace below parent, made by a process with these credentials. The error is ENOSPC.
func NewUserNamespace(c *Creds, ino uint64) (*UserNamespace, error) {
	if c.User.depth() >= maxUserLevel {
		return nil, unix.ENOSPC
	}
	u := &UserNamespace{Parent: c.User, Ino: ino, OwnerUID: c.EUID, OwnerGID: c.EGID, level: c.User.depth() + 1}
	u.deny = c.User.SetgroupsDenied()
	return u, nil
}

func (u *UserNamespace) depth() int {
	if u == nil {
		return 0
	}
	return u.level
}

// Within says whether u is other or lies below it.
func (u *UserNamespace) Within(other *UserNamespace) bool {
	for ; u != nil; u = u.Parent {
		if u == other {
			return true
		}
	}
	return other == nil
}

// extents answers one of the maps.
func (u *UserNamespace) extents(group bool) []IDExtent {
	u.mu.RLock()
	defer u.mu.RUnlock()
	if group {
		return u.gids
	}
	return u.uids
}

// inside translates the kernel's id; ok is false when the namespace has no name for it.
func (u *UserNamespace) inside(id uint32, group bool) (uint32, bool) {
	if u == nil {
		return id, true
	}
	for _, e := range u.extents(group) {
		if id-e.Outside < e.Count && id >= e.Outside {
			return e.Inside + id - e.Outside, true
		}
	}
	return OverflowID, false
}

// outside translates an id that a program named: InvalidID when it means nothing.
func (u *UserNamespace) outside(id uint32, group bool) uint32 {
	if u == nil {
		return id
	}
	for _, e := range u.extents(group) {
		if id-e.Inside < e.Count && id >= e.Inside {
			return e.Outside + id - e.Inside
		}
	}
	return InvalidID
}

// UID and GID name the kernel's ids for programs in the namespace, OverflowID for those without a name.
func (u *UserNamespace) UID(id uint32) uint32 { v, _ := u.inside(id, false); return v }

// GID names the kernel's group id.
func (u *UserNamespace) GID(id uint32) uint32 { v, _ := u.inside(id, true); return v }

// KernelUID and KernelGID are the ids that programs in the namespace mean: InvalidID for those that are not mapped.
func (u *UserNamespace) KernelUID(id uint32) uint32 { return u.outside(id, false) }

// KernelGID is the group id that programs in the namespace mean.
func (u *UserNamespace) KernelGID(id uint32) uint32 { return u.outside(id, true) }

// Map answers the uid or gid map, nil when it has not been written. Outside ids are in terms of the first namespace.
func (u *UserNamespace) Map(group bool) []IDExtent {
	if u == nil {
		return []IDExtent{{0, 0, InvalidID}}
	}
	return u.extents(group)
}

// SetMap stores a map, once. The error is EPERM.
func (u *UserNamespace) SetMap(group bool, list []IDExtent) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	m := &u.uids
	if group {
		m = &u.gids
	}
	if len(*m) > 0 {
		return unix.EPERM
	}
	*m = list
	return nil
}

// SetgroupsDenied is /proc/PID/setgroups.
func (u *UserNamespace) SetgroupsDenied() bool {
	if u == nil {
		return false
	}
	u.mu.RLock()
	defer u.mu.RUnlock()
	return u.deny
}

// DenySetgroups switches setgroups(2) off for good: EPERM once the gid map is written.
func (u *UserNamespace) DenySetgroups() error {
	if u == nil {
		return unix.EPERM
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.gids) > 0 && !u.deny {
		return unix.EPERM
	}
	u.deny = true
	return nil
}

// MaySetgroups says whether setgroups(2) is possible: the gid map is written and it is not denied.
func (u *UserNamespace) MaySetgroups() bool {
	if u == nil {
		return true
	}
	u.mu.RLock()
	defer u.mu.RUnlock()
	return !u.deny && len(u.gids) > 0
}

// Has says whether the credentials hold a capability over the whole machine.
func (c *Creds) Has(capability int) bool { return c.User == nil && c.Effective.Has(capability) }

// HasIn says whether they hold it over what the namespace governs (cap_capable): in it, or as its owner in the namespace above.
func (c *Creds) HasIn(ns *UserNamespace, capability int) bool {
	for {
		switch {
		case ns == c.User:
			return c.Effective.Has(capability)
		case ns.depth() <= c.User.depth():
			return false
		case ns.Parent == c.User && ns.OwnerUID == c.EUID:
			return true
		}
		ns = ns.Parent
	}
}

// HasOver says whether they hold it over a file with this owner and group (capable_wrt_inode_uidgid): both have to have a name.
func (c *Creds) HasOver(uid, gid uint32, capability int) bool {
	return c.Effective.Has(capability) && c.HasNames(uid, gid)
}

// HasNames says whether the credentials' user namespace has names for both ids.
func (c *Creds) HasNames(uid, gid uint32) bool {
	_, u := c.User.inside(uid, false)
	_, g := c.User.inside(gid, true)
	return u && g
}
