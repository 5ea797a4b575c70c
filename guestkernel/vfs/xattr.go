package vfs

import (
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Limits of extended attributes, in bytes (xattr(7)).
const (
	maxXattrName  = 255
	maxXattrValue = 65536
	maxXattrs     = 1 << 20 // of one inode: names and values together
)

// AllowXattrs lets the inode have extended attributes: a filesystem calls it when it makes the inode.
func (a *Attrs) AllowXattrs() { a.hasXattrs = true }

// xattrPermission mirrors xattr_permission: want is MayRead or MayWrite.
func xattrPermission(c Caller, a *Attrs, name string, want uint32) error {
	if name == "" || len(name) > maxXattrName {
		return unix.ERANGE
	}
	if !a.hasXattrs {
		return unix.EOPNOTSUPP
	}
	refuse := error(unix.ENODATA)
	if want == MayWrite {
		refuse = unix.EPERM
	}
	class, rest, _ := strings.Cut(name, ".")
	switch class {
	case "user":
		mode, uid, gid := a.Owner()
		kind := mode & unix.S_IFMT
		if kind != unix.S_IFREG && kind != unix.S_IFDIR {
			return refuse
		}
		if kind == unix.S_IFDIR && mode&unix.S_ISVTX != 0 && want == MayWrite && c.Creds().FSUID != uid && !c.Creds().HasOver(uid, gid, unix.CAP_FOWNER) {
			return unix.EPERM
		}
		if err := c.Creds().MayAccess(a, want); err != nil {
			return err
		}
	case "trusted":
		if !c.Creds().Has(unix.CAP_SYS_ADMIN) {
			return refuse
		}
	case "security":
		if want == MayWrite && !c.Creds().Has(unix.CAP_SYS_ADMIN) {
			return unix.EPERM
		}
	default:
		return unix.EOPNOTSUPP
	}
	if rest == "" {
		return unix.EINVAL
	}
	return nil
}

// GetXattr is getxattr(2) on a resolved path.
func GetXattr(c Caller, p Path, name string) ([]byte, error) {
	a := p.Dentry.inode.Attributes()
	if err := xattrPermission(c, a, name, MayRead); err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	v, ok := a.xattrs[name]
	if !ok {
		return nil, unix.ENODATA
	}
	return v, nil
}

// SetXattr is setxattr(2) on a resolved path; value is taken over.
func SetXattr(c Caller, p Path, name string, value []byte, flags int) error {
	err := setXattr(c, p, name, value, flags)
	if err == nil {
		p.Dentry.happened(unix.IN_ATTRIB)
	}
	return err
}

func setXattr(c Caller, p Path, name string, value []byte, flags int) error {
	a := p.Dentry.inode.Attributes()
	if err := p.writable(); err != nil {
		return err
	}
	if err := xattrPermission(c, a, name, MayWrite); err != nil {
		return err
	}
	now := Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	old, ok := a.xattrs[name]
	switch {
	case ok && flags&unix.XATTR_CREATE != 0:
		return unix.EEXIST
	case !ok && flags&unix.XATTR_REPLACE != 0:
		return unix.ENODATA
	}
	size := len(value) - len(old)
	if !ok {
		size += len(name)
	}
	if a.xattrBytes+size > maxXattrs {
		return unix.ENOSPC
	}
	if a.xattrs == nil {
		a.xattrs = make(map[string][]byte)
	}
	a.xattrs[name] = value
	a.xattrBytes += size
	a.ctime = now
	return nil
}

// RemoveXattr is removexattr(2) on a resolved path.
func RemoveXattr(c Caller, p Path, name string) error {
	err := removeXattr(c, p, name)
	if err == nil {
		p.Dentry.happened(unix.IN_ATTRIB)
	}
	return err
}

func removeXattr(c Caller, p Path, name string) error {
	a := p.Dentry.inode.Attributes()
	if err := p.writable(); err != nil {
		return err
	}
	if err := xattrPermission(c, a, name, MayWrite); err != nil {
		return err
	}
	now := Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	v, ok := a.xattrs[name]
	if !ok {
		return unix.ENODATA
	}
	delete(a.xattrs, name)
	a.xattrBytes -= len(name) + len(v)
	a.ctime = now
	return nil
}

// ListXattr is listxattr(2) on a resolved path: the names that the caller may know of, sorted.
func ListXattr(c Caller, p Path) ([]string, error) {
	a := p.Dentry.inode.Attributes()
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.hasXattrs {
		return nil, unix.EOPNOTSUPP
	}
	var names []string
	for n := range a.xattrs {
		if !strings.HasPrefix(n, "trusted.") || c.Creds().Has(unix.CAP_SYS_ADMIN) {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	return names, nil
}
