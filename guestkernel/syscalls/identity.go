package syscalls

import (
	"encoding/binary"
	"slices"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/task"
	"ringo/guestkernel/vfs"
)

func init() {
	register(map[string]Handler{
		"getpid":  func(t *task.Task, _ Args) (uint64, error) { return uint64(t.OwnPID()), nil },
		"gettid":  func(t *task.Task, _ Args) (uint64, error) { return uint64(t.OwnTID()), nil },
		"getppid": func(t *task.Task, _ Args) (uint64, error) { return uint64(t.Group().Parent()), nil },
		"getpgrp": func(t *task.Task, _ Args) (uint64, error) { return uint64(t.Local(t.PGID())), nil },
		"getpgid": func(t *task.Task, a Args) (uint64, error) {
			pgid, _, err := t.IDsOf(a.Int(0))
			return uint64(pgid), err
		},
		"getsid": func(t *task.Task, a Args) (uint64, error) {
			_, sid, err := t.IDsOf(a.Int(0))
			return uint64(sid), err
		},
		"setpgid": func(t *task.Task, a Args) (uint64, error) { return 0, t.SetPGID(a.Int(0), a.Int(1)) },
		"setsid": func(t *task.Task, _ Args) (uint64, error) {
			sid, err := t.SetSID()
			return uint64(sid), err
		},
		"getuid":    func(t *task.Task, _ Args) (uint64, error) { return uint64(t.Creds().UID), nil },
		"geteuid":   func(t *task.Task, _ Args) (uint64, error) { return uint64(t.Creds().EUID), nil },
		"getgid":    func(t *task.Task, _ Args) (uint64, error) { return uint64(t.Creds().GID), nil },
		"getegid":   func(t *task.Task, _ Args) (uint64, error) { return uint64(t.Creds().EGID), nil },
		"getresuid": sysGetresuid,
		"getresgid": sysGetresgid,
		"getgroups": sysGetgroups,
		"setgroups": sysSetgroups,
		"setuid":    sysSetuid,
		"setgid":    sysSetgid,
		"setreuid":  func(t *task.Task, a Args) (uint64, error) { return 0, setresuid(t, a.Uint(0), a.Uint(1), keep, true) },
		"setregid":  func(t *task.Task, a Args) (uint64, error) { return 0, setresgid(t, a.Uint(0), a.Uint(1), keep, true) },
		"setresuid": func(t *task.Task, a Args) (uint64, error) {
			return 0, setresuid(t, a.Uint(0), a.Uint(1), a.Uint(2), false)
		},
		"setresgid": func(t *task.Task, a Args) (uint64, error) {
			return 0, setresgid(t, a.Uint(0), a.Uint(1), a.Uint(2), false)
		},
		"setfsuid": sysSetfsuid,
		"setfsgid": sysSetfsgid,
	})
}

// keep is the argument that leaves an id alone.
const keep = ^uint32(0)

func sysGetresuid(t *task.Task, a Args) (uint64, error) {
	c := t.Creds()
	return putIDs(t, a, c.UID, c.EUID, c.SUID)
}

func sysGetresgid(t *task.Task, a Args) (uint64, error) {
	c := t.Creds()
	return putIDs(t, a, c.GID, c.EGID, c.SGID)
}

func putIDs(t *task.Task, a Args, ids ...uint32) (uint64, error) {
	for i, id := range ids {
		if err := putUint32(t, a[i], id); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

func sysGetgroups(t *task.Task, a Args) (uint64, error) {
	groups, size := t.Creds().Groups, a.Int(0)
	switch {
	case size < 0:
		return 0, unix.EINVAL
	case size == 0:
		return uint64(len(groups)), nil
	case size < len(groups):
		return 0, unix.EINVAL
	}
	b := make([]byte, 4*len(groups))
	for i, g := range groups {
		binary.LittleEndian.PutUint32(b[4*i:], g)
	}
	return uint64(len(groups)), t.CopyOutUser(a[1], b)
}

func sysSetgroups(t *task.Task, a Args) (uint64, error) {
	if !t.Creds().Has(unix.CAP_SETGID) {
		return 0, unix.EPERM
	}
	n := a.Uint(0)
	if n > 65536 {
		return 0, unix.EINVAL
	}
	b := make([]byte, 4*n)
	if err := t.CopyInUser(a[1], b); err != nil {
		return 0, err
	}
	c := *t.Creds()
	c.Groups = make([]uint32, n)
	for i := range c.Groups {
		c.Groups[i] = binary.LittleEndian.Uint32(b[4*i:])
	}
	slices.Sort(c.Groups)
	t.SetCreds(&c)
	return 0, nil
}

func sysSetuid(t *task.Task, a Args) (uint64, error) {
	old, uid := t.Creds(), a.Uint(0)
	if uid == keep {
		return 0, unix.EINVAL
	}
	c := *old
	switch {
	case old.Effective.Has(unix.CAP_SETUID):
		c.UID, c.SUID = uid, uid
	case uid != old.UID && uid != old.SUID:
		return 0, unix.EPERM
	}
	c.EUID, c.FSUID = uid, uid
	t.SetCreds(dropCaps(old, &c))
	return 0, nil
}

func sysSetgid(t *task.Task, a Args) (uint64, error) {
	old, gid := t.Creds(), a.Uint(0)
	if gid == keep {
		return 0, unix.EINVAL
	}
	c := *old
	switch {
	case old.Effective.Has(unix.CAP_SETGID):
		c.GID, c.SGID = gid, gid
	case gid != old.GID && gid != old.SGID:
		return 0, unix.EPERM
	}
	c.EGID, c.FSGID = gid, gid
	t.SetCreds(&c)
	return 0, nil
}

// setresuid is setresuid(2), and setreuid(2) with its rule for the saved id.
func setresuid(t *task.Task, r, e, s uint32, re bool) error {
	old := t.Creds()
	c := *old
	priv := old.Effective.Has(unix.CAP_SETUID)
	for _, id := range []uint32{r, e, s} {
		if id != keep && !priv && id != old.UID && id != old.EUID && id != old.SUID {
			return unix.EPERM
		}
	}
	if re && !priv && r != keep && r != old.UID && r != old.EUID {
		return unix.EPERM
	}
	set(&c.UID, r)
	set(&c.EUID, e)
	set(&c.SUID, s)
	if re && (r != keep || e != keep && e != old.UID) {
		c.SUID = c.EUID
	}
	c.FSUID = c.EUID
	t.SetCreds(dropCaps(old, &c))
	return nil
}

func setresgid(t *task.Task, r, e, s uint32, re bool) error {
	old := t.Creds()
	c := *old
	priv := old.Effective.Has(unix.CAP_SETGID)
	for _, id := range []uint32{r, e, s} {
		if id != keep && !priv && id != old.GID && id != old.EGID && id != old.SGID {
			return unix.EPERM
		}
	}
	set(&c.GID, r)
	set(&c.EGID, e)
	set(&c.SGID, s)
	if re && (r != keep || e != keep && e != old.GID) {
		c.SGID = c.EGID
	}
	c.FSGID = c.EGID
	t.SetCreds(&c)
	return nil
}

func set(p *uint32, v uint32) {
	if v != keep {
		*p = v
	}
}

// dropCaps applies what a change of user ids does to capabilities (capabilities(7)).
func dropCaps(old, c *vfs.Creds) *vfs.Creds {
	root := func(c *vfs.Creds) bool { return c.UID == 0 || c.EUID == 0 || c.SUID == 0 }
	if root(old) && !root(c) {
		c.Permitted, c.Effective, c.Ambient = 0, 0, 0
	}
	switch {
	case old.EUID == 0 && c.EUID != 0:
		c.Effective = 0
	case old.EUID != 0 && c.EUID == 0:
		c.Effective = c.Permitted
	}
	return c
}

func sysSetfsuid(t *task.Task, a Args) (uint64, error) {
	old, id := t.Creds(), a.Uint(0)
	if id == old.UID || id == old.EUID || id == old.SUID || id == old.FSUID || id != keep && old.Effective.Has(unix.CAP_SETUID) {
		c := *old
		c.FSUID = id
		t.SetCreds(&c)
	}
	return uint64(old.FSUID), nil
}

func sysSetfsgid(t *task.Task, a Args) (uint64, error) {
	old, id := t.Creds(), a.Uint(0)
	if id == old.GID || id == old.EGID || id == old.SGID || id == old.FSGID || id != keep && old.Effective.Has(unix.CAP_SETGID) {
		c := *old
		c.FSGID = id
		t.SetCreds(&c)
	}
	return uint64(old.FSGID), nil
}
