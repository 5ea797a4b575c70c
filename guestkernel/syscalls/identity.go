package syscalls

import (
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
		"getuid":    func(t *task.Task, _ Args) (uint64, error) { c := t.Creds(); return uint64(c.User.UID(c.UID)), nil },
		"geteuid":   func(t *task.Task, _ Args) (uint64, error) { c := t.Creds(); return uint64(c.User.UID(c.EUID)), nil },
		"getgid":    func(t *task.Task, _ Args) (uint64, error) { c := t.Creds(); return uint64(c.User.GID(c.GID)), nil },
		"getegid":   func(t *task.Task, _ Args) (uint64, error) { c := t.Creds(); return uint64(c.User.GID(c.EGID)), nil },
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

// kernelUID and kernelGID are the ids that the caller means; keep stays. The error is EINVAL for ids that its user namespace does not map.
func kernelUID(t *task.Task, id uint32) (uint32, error) {
	return mapped(id, t.Creds().User.KernelUID)
}

func kernelGID(t *task.Task, id uint32) (uint32, error) {
	return mapped(id, t.Creds().User.KernelGID)
}

func mapped(id uint32, to func(uint32) uint32) (uint32, error) {
	if id == keep {
		return keep, nil
	}
	k := to(id)
	if k == vfs.InvalidID {
		return 0, unix.EINVAL
	}
	return k, nil
}

func sysGetresuid(t *task.Task, a Args) (uint64, error) {
	c := t.Creds()
	return putIDs(t, a, c.User.UID(c.UID), c.User.UID(c.EUID), c.User.UID(c.SUID))
}

func sysGetresgid(t *task.Task, a Args) (uint64, error) {
	c := t.Creds()
	return putIDs(t, a, c.User.GID(c.GID), c.User.GID(c.EGID), c.User.GID(c.SGID))
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
	c, size := t.Creds(), a.Int(0)
	switch {
	case size < 0:
		return 0, unix.EINVAL
	case size == 0:
		return uint64(len(c.Groups)), nil
	case size < len(c.Groups):
		return 0, unix.EINVAL
	}
	b := make([]byte, 4*len(c.Groups))
	for i, g := range c.Groups {
		le.PutUint32(b[4*i:], c.User.GID(g))
	}
	return uint64(len(c.Groups)), t.CopyOutUser(a[1], b)
}

func sysSetgroups(t *task.Task, a Args) (uint64, error) {
	c := *t.Creds()
	if !c.Effective.Has(unix.CAP_SETGID) || !c.User.MaySetgroups() {
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
	c.Groups = make([]uint32, n)
	for i := range c.Groups {
		if c.Groups[i] = c.User.KernelGID(le.Uint32(b[4*i:])); c.Groups[i] == vfs.InvalidID {
			return 0, unix.EINVAL
		}
	}
	slices.Sort(c.Groups)
	t.SetCreds(&c)
	return 0, nil
}

func sysSetuid(t *task.Task, a Args) (uint64, error) {
	old := t.Creds()
	uid, err := kernelUID(t, a.Uint(0))
	if err != nil || uid == keep {
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
	setUserIDs(t, c.AfterSetUID(old))
	return 0, nil
}

func sysSetgid(t *task.Task, a Args) (uint64, error) {
	old := t.Creds()
	gid, err := kernelGID(t, a.Uint(0))
	if err != nil || gid == keep {
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
	setUserIDs(t, &c)
	return 0, nil
}

// setUserIDs replaces the credentials by a call that set ids: a process of other effective ids than before is not dumpable, and its parent's death is
// no signal any more (commit_creds).
func setUserIDs(t *task.Task, c *vfs.Creds) {
	old := t.Creds()
	t.SetCreds(c)
	if old.EUID != c.EUID || old.EGID != c.EGID || old.FSUID != c.FSUID || old.FSGID != c.FSGID || c.Permitted&^old.Permitted != 0 {
		t.Group().SetDumpable(false)
		t.SetParentDeathSignal(0)
	}
}

// setresuid is setresuid(2), and setreuid(2) with its rule for the saved id.
func setresuid(t *task.Task, r, e, s uint32, re bool) error {
	old := t.Creds()
	c := *old
	priv := old.Effective.Has(unix.CAP_SETUID)
	ids := []*uint32{&r, &e, &s}
	for _, id := range ids {
		k, err := kernelUID(t, *id)
		if err != nil {
			return err
		}
		*id = k
	}
	for _, id := range ids {
		if *id != keep && !priv && *id != old.UID && *id != old.EUID && *id != old.SUID {
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
	setUserIDs(t, c.AfterSetUID(old))
	return nil
}

func setresgid(t *task.Task, r, e, s uint32, re bool) error {
	old := t.Creds()
	c := *old
	priv := old.Effective.Has(unix.CAP_SETGID)
	ids := []*uint32{&r, &e, &s}
	for _, id := range ids {
		k, err := kernelGID(t, *id)
		if err != nil {
			return err
		}
		*id = k
	}
	for _, id := range ids {
		if *id != keep && !priv && *id != old.GID && *id != old.EGID && *id != old.SGID {
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
	setUserIDs(t, &c)
	return nil
}

func set(p *uint32, v uint32) {
	if v != keep {
		*p = v
	}
}

func sysSetfsuid(t *task.Task, a Args) (uint64, error) {
	old := t.Creds()
	id := old.User.KernelUID(a.Uint(0))
	if id != vfs.InvalidID && (id == old.UID || id == old.EUID || id == old.SUID || id == old.FSUID || old.Effective.Has(unix.CAP_SETUID)) {
		c := *old
		c.FSUID = id
		setUserIDs(t, c.AfterSetFSUID(old))
	}
	return uint64(old.User.UID(old.FSUID)), nil
}

func sysSetfsgid(t *task.Task, a Args) (uint64, error) {
	old := t.Creds()
	id := old.User.KernelGID(a.Uint(0))
	if id != vfs.InvalidID && (id == old.GID || id == old.EGID || id == old.SGID || id == old.FSGID || old.Effective.Has(unix.CAP_SETGID)) {
		c := *old
		c.FSGID = id
		setUserIDs(t, &c)
	}
	return uint64(old.User.GID(old.FSGID)), nil
}
