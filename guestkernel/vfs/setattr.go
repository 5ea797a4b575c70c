package vfs

import "golang.org/x/sys/unix"

// writable answers EROFS for a path on a read-only mount.
func (p Path) writable() error {
	if p.Mount.ReadOnly() {
		return unix.EROFS
	}
	return nil
}

// Chmod is chmod(2) on a resolved path.
func Chmod(c Caller, p Path, mode uint32) error {
	err := chmod(c, p, mode)
	if err == nil {
		p.Dentry.happened(unix.IN_ATTRIB)
	}
	return err
}

func chmod(c Caller, p Path, mode uint32) error {
	if err := p.writable(); err != nil {
		return err
	}
	i := p.Dentry.inode
	a := i.Attributes()
	if a.Type() == unix.S_IFLNK {
		return unix.EOPNOTSUPP
	}
	if !c.Creds().owns(a) {
		return unix.EPERM
	}
	now := Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	if !c.Creds().InGroup(a.gid) && !c.Creds().HasOver(a.uid, a.gid, unix.CAP_FSETID) {
		mode &^= unix.S_ISGID
	}
	a.mode = a.mode&unix.S_IFMT | mode&0o7777
	a.ctime = now
	return nil
}

// Unchanged as a uid or gid leaves it as it is.
const Unchanged = ^uint32(0)

// Chown is chown(2) on a resolved path.
func Chown(c Caller, p Path, uid, gid uint32) error {
	err := chown(c, p, uid, gid)
	if err == nil {
		p.Dentry.happened(unix.IN_ATTRIB)
	}
	return err
}

func chown(c Caller, p Path, uid, gid uint32) error {
	if err := p.writable(); err != nil {
		return err
	}
	a := p.Dentry.inode.Attributes()
	creds := c.Creds()
	now := Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	if !creds.HasOver(a.uid, a.gid, unix.CAP_CHOWN) {
		owner := creds.FSUID == a.uid
		if uid != Unchanged && (!owner || uid != a.uid) || gid != Unchanged && (!owner || gid != a.gid && !creds.InGroup(gid)) {
			return unix.EPERM
		}
		if uid == Unchanged && gid == Unchanged && !owner && !creds.HasOver(a.uid, a.gid, unix.CAP_FOWNER) && a.mode&(unix.S_ISUID|unix.S_ISGID) != 0 && a.mode&unix.S_IFMT != unix.S_IFDIR {
			return unix.EPERM
		}
	}
	if uid != Unchanged {
		a.uid = uid
	}
	if gid != Unchanged {
		a.gid = gid
	}
	if a.mode&unix.S_IFMT != unix.S_IFDIR {
		a.mode &^= unix.S_ISUID
		if a.mode&unix.S_IXGRP != 0 {
			a.mode &^= unix.S_ISGID
		}
	}
	a.ctime = now
	return nil
}

// dropPrivileges takes the set-id bits away after a write by somebody without CAP_FSETID: file_remove_privs.
func (a *Attrs) dropPrivileges(c Caller) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.mode&(unix.S_ISUID|unix.S_ISGID) == 0 || c.Creds().HasOver(a.uid, a.gid, unix.CAP_FSETID) {
		return
	}
	a.mode &^= unix.S_ISUID
	if a.mode&unix.S_IXGRP != 0 {
		a.mode &^= unix.S_ISGID
	}
}

// Written is what a write does to the attributes: mtime, ctime, set-id bits.
func (a *Attrs) Written(c Caller) {
	a.Modified()
	a.dropPrivileges(c)
}

// SetTimes is utimensat(2) on a resolved path. A nil times is now for both; Nsec may be UTIME_NOW or UTIME_OMIT.
func SetTimes(c Caller, p Path, times *[2]unix.Timespec) error {
	err := setTimes(c, p, times)
	if err == nil {
		p.Dentry.happened(unix.IN_ATTRIB)
	}
	return err
}

func setTimes(c Caller, p Path, times *[2]unix.Timespec) error {
	if times != nil {
		for _, t := range times {
			if t.Nsec != unix.UTIME_NOW && t.Nsec != unix.UTIME_OMIT && (t.Nsec < 0 || t.Nsec >= 1e9) {
				return unix.EINVAL
			}
		}
		if times[0].Nsec == unix.UTIME_OMIT && times[1].Nsec == unix.UTIME_OMIT {
			return nil
		}
	}
	if err := p.writable(); err != nil {
		return err
	}
	a := p.Dentry.inode.Attributes()
	if times == nil || times[0].Nsec == unix.UTIME_NOW && times[1].Nsec == unix.UTIME_NOW {
		if !c.Creds().owns(a) {
			if err := c.Creds().MayAccess(a, MayWrite); err != nil {
				return err
			}
		}
		times = &[2]unix.Timespec{{Nsec: unix.UTIME_NOW}, {Nsec: unix.UTIME_NOW}}
	} else if !c.Creds().owns(a) {
		return unix.EPERM
	}
	now := Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, at := range []*unix.Timespec{&a.atime, &a.mtime} {
		switch times[i].Nsec {
		case unix.UTIME_OMIT:
		case unix.UTIME_NOW:
			*at = now
		default:
			*at = times[i]
		}
	}
	a.ctime = now
	return nil
}

// Truncate is truncate(2) on a resolved path.
func Truncate(c Caller, p Path, size int64) error {
	a := p.Dentry.inode.Attributes()
	switch a.Type() {
	case unix.S_IFDIR:
		return unix.EISDIR
	case unix.S_IFREG:
	default:
		return unix.EINVAL
	}
	if err := p.writable(); err != nil {
		return err
	}
	if err := c.Creds().MayAccess(a, MayWrite); err != nil {
		return err
	}
	if err := a.getWrite(); err != nil {
		return err
	}
	defer a.putWrite()
	return truncate(c, p.Dentry, size)
}

// Truncate is ftruncate(2).
func (d *Description) Truncate(c Caller, size int64) error {
	if d.PathOnly() {
		return unix.EBADF
	}
	if d.inode.Attributes().Type() != unix.S_IFREG || !d.Writable() {
		return unix.EINVAL
	}
	return truncate(c, d.path.Dentry, size)
}

func truncate(c Caller, d *Dentry, size int64) error {
	i := d.inode
	if old, _ := i.Size(); size > old {
		if limit := c.Rlimit(unix.RLIMIT_FSIZE); uint64(size) > limit {
			c.Signal(unix.SIGXFSZ)
			return unix.EFBIG
		}
	}
	if err := i.Truncate(c, size); err != nil {
		return err
	}
	i.Attributes().Written(c)
	d.happened(unix.IN_MODIFY)
	return nil
}

// Allocate is fallocate(2).
func (d *Description) Allocate(c Caller, mode uint32, offset, length int64) error {
	if offset < 0 || length <= 0 {
		return unix.EINVAL
	}
	const supported = unix.FALLOC_FL_KEEP_SIZE | unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_ZERO_RANGE | unix.FALLOC_FL_COLLAPSE_RANGE | unix.FALLOC_FL_INSERT_RANGE | unix.FALLOC_FL_UNSHARE_RANGE
	if mode&^supported != 0 || mode&(unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE) == unix.FALLOC_FL_PUNCH_HOLE {
		return unix.EOPNOTSUPP
	}
	if !d.Writable() {
		return unix.EBADF
	}
	switch d.inode.Attributes().Type() {
	case unix.S_IFREG:
	case unix.S_IFIFO:
		return unix.ESPIPE
	case unix.S_IFDIR:
		return unix.EISDIR
	default:
		return unix.ENODEV
	}
	if offset+length < offset {
		return unix.EFBIG
	}
	return d.file.Allocate(c, d, mode, offset, length)
}

// Access is faccessat2(2) on a resolved path: real ids unless effective. want is of MayRead, MayWrite, MayExec; 0 is existence.
func Access(c Caller, p Path, want uint32, effective bool) error {
	creds := *c.Creds()
	if !effective {
		creds.FSUID, creds.FSGID = creds.UID, creds.GID
		if creds.UID != 0 {
			creds.Effective = 0
		} else {
			creds.Effective = creds.Permitted
		}
	}
	a := p.Dentry.inode.Attributes()
	kind := a.Type()
	if want&MayExec != 0 && kind == unix.S_IFREG && p.Mount.Flags()&unix.MS_NOEXEC != 0 {
		return unix.EACCES
	}
	if err := creds.MayAccess(a, want); err != nil {
		return err
	}
	if want&MayWrite != 0 && p.Mount.ReadOnly() && (kind == unix.S_IFREG || kind == unix.S_IFDIR || kind == unix.S_IFLNK) {
		return unix.EROFS
	}
	return nil
}

// NewOwner mirrors inode_init_owner: owner and mode of a new entry in a directory with the attributes dir.
func NewOwner(c Caller, dir *Attrs, mode uint32) (newMode, uid, gid uint32) {
	creds := c.Creds()
	uid, gid = creds.FSUID, creds.FSGID
	dirMode, _, dirGID := dir.Owner()
	if dirMode&unix.S_ISGID != 0 {
		gid = dirGID
		if mode&unix.S_IFMT == unix.S_IFDIR {
			mode |= unix.S_ISGID
		} else if mode&(unix.S_ISGID|unix.S_IXGRP) == unix.S_ISGID|unix.S_IXGRP && !creds.InGroup(gid) && !creds.HasOver(uid, gid, unix.CAP_FSETID) {
			mode &^= unix.S_ISGID
		}
	}
	return mode, uid, gid
}
