package vfs

import (
	"slices"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/wait"
)

// Caller is what files know of the task that calls them. Tasks implement it; all methods are for the caller's own goroutine.
type Caller interface {
	wait.Sleeper
	UserMemory

	// Creds are the credentials that permission checks use. The value is immutable.
	Creds() *Creds
	// FS is the task's root, working directory and umask.
	FS() *FSContext
	// FDs is the task's descriptor table.
	FDs() *FDTable
	// Rlimit is the soft limit of resource (RLIMIT_*); RlimInfinity when there is none.
	Rlimit(resource int) uint64
	// Signal sends sig to the calling thread (SIGPIPE, SIGXFSZ).
	Signal(sig unix.Signal)

	// PID, PGID and SID are the caller's process, process group and session.
	PID() int
	PGID() int
	SID() int
	// SignalStopped reports whether sig is blocked or ignored by the caller, and Orphaned whether its process group is orphaned: a
	// background read of a terminal then fails with EIO instead of stopping the group.
	SignalStopped(sig unix.Signal) bool
	Orphaned() bool
}

// LocalID is the kernel's number n of a process, process group or session as the caller's PID namespace knows it, 0 when it does not.
func LocalID(c Caller, n int) int {
	if l, ok := c.(interface{ Local(int) int }); ok && n > 0 {
		return l.Local(n)
	}
	return n
}

// GlobalID is the kernel's number for what the caller calls n.
func GlobalID(c Caller, n int) int {
	if l, ok := c.(interface{ Global(int) int }); ok {
		return l.Global(n)
	}
	return n
}

// Informer is a file that has lines of its own in /proc/PID/fdinfo.
type Informer interface{ Info(c Caller) string }

// RlimInfinity is RLIM_INFINITY.
const RlimInfinity = ^uint64(0)

// Creds are a task's credentials (credentials(7)). A Creds is never changed once it is visible to others: copy, change, replace.
type Creds struct {
	UID, EUID, SUID, FSUID uint32
	GID, EGID, SGID, FSGID uint32
	Groups                 []uint32 // supplementary groups
	Effective              CapSet
	Permitted              CapSet
	Inheritable            CapSet
	Bounding               CapSet
	Ambient                CapSet
	Secure                 uint32         // SECBIT_*
	User                   *UserNamespace // that the capabilities are of; nil: the first
}

// Bits of Creds.Secure (capabilities(7)); the bit above each locks it.
const (
	SecureNoRoot        = 1 << 0
	SecureNoSetuidFixup = 1 << 2
	SecureKeepCaps      = 1 << 4
	SecureNoAmbient     = 1 << 6
	SecureAll           = 0xff
	SecureLocks         = 0xaa
)

// In answers the credentials that a process has which enters a user namespace: every capability there (set_cred_user_ns).
func (c *Creds) In(u *UserNamespace) *Creds {
	n := *c
	n.User, n.Secure = u, 0
	n.Effective, n.Permitted, n.Bounding, n.Inheritable, n.Ambient = AllCaps, AllCaps, AllCaps, 0, 0
	return &n
}

// Mapped says whether the effective ids have names in the credentials' user namespace.
func (c *Creds) Mapped() bool {
	_, u := c.User.inside(c.EUID, false)
	_, g := c.User.inside(c.EGID, true)
	return u && g
}

// CapSet is a set of capabilities: bit CAP_x.
type CapSet uint64

// AllCaps has every capability that Linux 6.x defines.
const AllCaps CapSet = 1<<(unix.CAP_LAST_CAP+1) - 1

// Has reports whether the set holds the capability (CAP_*).
func (s CapSet) Has(capability int) bool { return s>>capability&1 != 0 }

// RootCreds answers the credentials of the first process.
func RootCreds() *Creds {
	return &Creds{Effective: AllCaps, Permitted: AllCaps, Bounding: AllCaps}
}

// InGroup reports whether gid is the file-system group or a supplementary one.
func (c *Creds) InGroup(gid uint32) bool { return c.FSGID == gid || slices.Contains(c.Groups, gid) }

// Access bits, as in access(2).
const (
	MayExec  = 1
	MayWrite = 2
	MayRead  = 4
)

// MayAccess mirrors Linux's generic_permission: the owner, group or other bits of the mode, then CAP_DAC_OVERRIDE and
// CAP_DAC_READ_SEARCH.
func (c *Creds) MayAccess(a *Attrs, want uint32) error {
	mode, uid, gid := a.Owner()
	perm := mode & 7
	if c.FSUID == uid {
		perm = mode >> 6 & 7
	} else if perm != mode>>3&7 && c.InGroup(gid) {
		perm = mode >> 3 & 7
	}
	if want&^perm == 0 {
		return nil
	}
	if mode&unix.S_IFMT == unix.S_IFDIR {
		if want&MayWrite == 0 && c.HasOver(uid, gid, unix.CAP_DAC_READ_SEARCH) || c.HasOver(uid, gid, unix.CAP_DAC_OVERRIDE) {
			return nil
		}
		return unix.EACCES
	}
	if want == MayRead && c.HasOver(uid, gid, unix.CAP_DAC_READ_SEARCH) {
		return nil
	}
	if (want&MayExec == 0 || mode&0o111 != 0) && c.HasOver(uid, gid, unix.CAP_DAC_OVERRIDE) {
		return nil
	}
	return unix.EACCES
}

// owns mirrors inode_owner_or_capable.
func (c *Creds) owns(a *Attrs) bool {
	_, uid, gid := a.Owner()
	return c.FSUID == uid || c.HasOver(uid, gid, unix.CAP_FOWNER)
}
