package vfs

import (
	"golang.org/x/sys/unix"
)

// mayCreate mirrors may_create: an entry can be made in the directory. The tree lock is held.
func mayCreate(c Caller, dir *Dentry) error {
	if dir.dead {
		return unix.ENOENT
	}
	return c.Creds().MayAccess(dir.inode.Attributes(), MayWrite|MayExec)
}

// mayDelete mirrors may_delete: the entry can be removed from its directory. The tree lock is held.
func mayDelete(c Caller, d *Dentry, isDir bool) error {
	dir := d.parent.inode.Attributes()
	creds := c.Creds()
	if err := creds.MayAccess(dir, MayWrite|MayExec); err != nil {
		return err
	}
	mode, dirUID, _ := dir.Owner()
	_, uid, gid := d.inode.Attributes().Owner()
	if mode&unix.S_ISVTX != 0 && uid != creds.FSUID && dirUID != creds.FSUID && !creds.HasOver(uid, gid, unix.CAP_FOWNER) {
		return unix.EPERM
	}
	if isDir && !d.isDir() {
		return unix.ENOTDIR
	}
	if !isDir && d.isDir() {
		return unix.EISDIR
	}
	if d.parent.dead {
		return unix.ENOENT
	}
	return nil
}

// mayLink mirrors may_linkat with protected_hardlinks set: only the owner, or who could write it, makes further names of a file.
func mayLink(c Caller, i Inode) bool {
	a := i.Attributes()
	if c.Creds().owns(a) {
		return true
	}
	mode := a.Mode()
	return mode&unix.S_IFMT == unix.S_IFREG && mode&unix.S_ISUID == 0 && mode&(unix.S_ISGID|unix.S_IXGRP) != unix.S_ISGID|unix.S_IXGRP &&
		c.Creds().MayAccess(a, MayRead|MayWrite) == nil
}

// enter makes an entry with make, after the lookups of filename_create; make checks permissions with mayCreate.
func enter(c Caller, at At, path string, directory bool, make func(dir *Dentry, mount *Mount, name string) (Inode, error)) error {
	w, err := at.walker(c, path)
	if err != nil {
		return err
	}
	l, err := w.parent(path)
	if err != nil {
		return err
	}
	if l.special() {
		return unix.EEXIST
	}
	dir := w.at.Dentry
	dir.sb.tree.Lock()
	defer dir.sb.tree.Unlock()
	if _, err := dir.childLocked(l.name); err == nil {
		return unix.EEXIST
	} else if err != unix.ENOENT {
		return err
	}
	if l.trailing && !directory || dir.sb.Dynamic && !makes(dir.inode) {
		return unix.ENOENT
	}
	if w.at.Mount.ReadOnly() {
		return unix.EROFS
	}
	i, err := make(dir, w.at.Mount, l.name)
	if err == nil { // the dentry comes with the first lookup
		if i.Attributes().Nlink() > 1 && !i.Attributes().IsDir() {
			tell(i, unix.IN_ATTRIB, 0, "")
		}
		tell(dir.inode, entryMask(unix.IN_CREATE, i), 0, l.name)
	}
	return err
}

// MakeIn makes an entry in a directory with an operation of the filesystem's own, for the kernel itself: only the name's length and that it is
// free are checked.
func MakeIn(dir Path, name string, make func(dir Inode, name string) error) error {
	d := dir.Dentry
	if len(name) > unix.NAME_MAX {
		return unix.ENAMETOOLONG
	}
	d.sb.tree.Lock()
	defer d.sb.tree.Unlock()
	if d.dead {
		return unix.ENOENT
	}
	if _, err := d.inode.Lookup(name); err != unix.ENOENT {
		if err == nil {
			err = unix.EEXIST
		}
		return err
	}
	return make(d.inode, name)
}

// Mkdir is mkdirat(2).
func Mkdir(c Caller, at At, path string, mode uint32) error {
	return enter(c, at, path, true, func(dir *Dentry, _ *Mount, name string) (Inode, error) {
		if err := mayCreate(c, dir); err != nil {
			return nil, err
		}
		return dir.inode.Create(c, name, unix.S_IFDIR|mode&0o1777&^c.FS().Umask(), 0)
	})
}

// Mknod is mknodat(2); a mode without type is a regular file. dev is in the encoding of stat(2).
func Mknod(c Caller, at At, path string, mode uint32, dev uint64) error {
	switch mode & unix.S_IFMT {
	case 0:
		mode |= unix.S_IFREG
		dev = 0
	case unix.S_IFREG, unix.S_IFIFO, unix.S_IFSOCK:
		dev = 0
	case unix.S_IFCHR, unix.S_IFBLK:
	case unix.S_IFDIR:
		return unix.EPERM
	default:
		return unix.EINVAL
	}
	return enter(c, at, path, false, func(dir *Dentry, _ *Mount, name string) (Inode, error) {
		if err := mayCreate(c, dir); err != nil {
			return nil, err
		}
		if k := mode & unix.S_IFMT; (k == unix.S_IFCHR || k == unix.S_IFBLK) && !c.Creds().Has(unix.CAP_MKNOD) {
			return nil, unix.EPERM
		}
		return dir.inode.Create(c, name, mode&(unix.S_IFMT|0o7777)&^c.FS().Umask(), dev)
	})
}

// Symlink is symlinkat(2).
func Symlink(c Caller, target string, at At, path string) error {
	if target == "" {
		return unix.ENOENT
	}
	return enter(c, at, path, false, func(dir *Dentry, _ *Mount, name string) (Inode, error) {
		if err := mayCreate(c, dir); err != nil {
			return nil, err
		}
		return dir.inode.Symlink(c, name, target)
	})
}

// Link is linkat(2): old is resolved already, following links or not as the flags say.
func Link(c Caller, old Path, at At, path string) error {
	return enter(c, at, path, false, func(dir *Dentry, mount *Mount, name string) (Inode, error) {
		i := old.Dentry.inode
		switch {
		case mount != old.Mount:
			return nil, unix.EXDEV
		case !mayLink(c, i):
			return nil, unix.EPERM
		}
		if err := mayCreate(c, dir); err != nil {
			return nil, err
		}
		switch {
		case old.Dentry.isDir():
			return nil, unix.EPERM
		case !i.Attributes().mayBeLinked():
			return nil, unix.ENOENT
		}
		return i, dir.inode.Link(c, name, i)
	})
}

// Unlink is unlinkat(2) without AT_REMOVEDIR.
func Unlink(c Caller, at At, path string) error {
	w, err := at.walker(c, path)
	if err != nil {
		return err
	}
	l, err := w.parent(path)
	if err != nil {
		return err
	}
	if l.special() {
		return unix.EISDIR
	}
	return w.remove(l, false)
}

// Rmdir is rmdir(2).
func Rmdir(c Caller, at At, path string) error {
	w, err := at.walker(c, path)
	if err != nil {
		return err
	}
	l, err := w.parent(path)
	if err != nil {
		return err
	}
	switch l.name {
	case "":
		return unix.EBUSY
	case ".":
		return unix.EINVAL
	case "..":
		return unix.ENOTEMPTY
	}
	return w.remove(l, true)
}

func (w *walker) remove(l last, directory bool) error {
	dir := w.at.Dentry
	if w.at.Mount.ReadOnly() {
		return unix.EROFS
	}
	dir.sb.tree.Lock()
	defer dir.sb.tree.Unlock()
	d, err := dir.childLocked(l.name)
	if err != nil {
		return err
	}
	if l.trailing && !directory {
		if d.isDir() {
			return unix.EISDIR
		}
		return unix.ENOTDIR
	}
	if err := mayDelete(w.c, d, directory); err != nil {
		return err
	}
	if d.mounts.Load() > 0 {
		return unix.EBUSY
	}
	if directory {
		err = dir.inode.Rmdir(w.c, l.name, d.inode)
	} else {
		err = dir.inode.Unlink(w.c, l.name, d.inode)
	}
	if err == nil {
		d.detach()
		if !directory {
			tell(d.inode, unix.IN_ATTRIB, 0, "")
		}
		tell(dir.inode, entryMask(unix.IN_DELETE, d.inode), 0, l.name)
		reap(d.inode)
	}
	return err
}

// Rename flags (renameat2(2)).
const (
	renameNoReplace = unix.RENAME_NOREPLACE
	renameExchange  = unix.RENAME_EXCHANGE
)

// Rename is renameat2(2).
func Rename(c Caller, oldAt At, oldPath string, newAt At, newPath string, flags uint32) error {
	const whiteout = unix.RENAME_WHITEOUT
	if flags&^(renameNoReplace|renameExchange|whiteout) != 0 || flags&renameExchange != 0 && flags&(renameNoReplace|whiteout) != 0 {
		return unix.EINVAL
	}
	ow, err := oldAt.walker(c, oldPath)
	if err != nil {
		return err
	}
	ol, err := ow.parent(oldPath)
	if err != nil {
		return err
	}
	nw, err := newAt.walker(c, newPath)
	if err != nil {
		return err
	}
	nl, err := nw.parent(newPath)
	if err != nil {
		return err
	}
	if ow.at.Mount != nw.at.Mount {
		return unix.EXDEV
	}
	if ol.special() {
		return unix.EBUSY
	}
	if nl.special() {
		if flags&renameNoReplace != 0 {
			return unix.EEXIST
		}
		return unix.EBUSY
	}
	if ow.at.Mount.ReadOnly() {
		return unix.EROFS
	}
	r := rename{c: c, oldDir: ow.at.Dentry, newDir: nw.at.Dentry, exchange: flags&renameExchange != 0, whiteout: flags&whiteout != 0}
	tree := &r.oldDir.sb.tree
	tree.Lock()
	defer tree.Unlock()
	if r.source, err = r.oldDir.childLocked(ol.name); err != nil {
		return err
	}
	if r.victim, err = r.newDir.childLocked(nl.name); err != nil && err != unix.ENOENT {
		return err
	}
	switch {
	case r.victim != nil && flags&renameNoReplace != 0:
		return unix.EEXIST
	case r.victim == nil && r.exchange:
		return unix.ENOENT
	case r.exchange && nl.trailing && !r.victim.isDir():
		return unix.ENOTDIR
	case !r.source.isDir() && (ol.trailing || !r.exchange && nl.trailing):
		return unix.ENOTDIR
	}
	return r.do(nl.name)
}

type rename struct {
	c              Caller
	oldDir, newDir *Dentry
	source, victim *Dentry // victim is nil when the new name is free
	exchange       bool
	whiteout       bool // leave a character device 0:0 behind, which hides a lower file in overlays
}

// do is the part of rename behind the lookups. The tree is locked.
func (r *rename) do(newName string) error {
	if r.newDir.below(r.source) {
		return unix.EINVAL
	}
	if r.victim != nil && r.oldDir.below(r.victim) {
		if r.exchange {
			return unix.EINVAL
		}
		return unix.ENOTEMPTY
	}
	var victim Inode
	if r.victim != nil {
		if victim = r.victim.inode; victim == r.source.inode {
			return nil
		}
	}
	isDir := r.source.isDir()
	if err := mayDelete(r.c, r.source, isDir); err != nil {
		return err
	}
	var err error
	switch {
	case r.victim == nil:
		err = mayCreate(r.c, r.newDir)
	case r.exchange:
		err = mayDelete(r.c, r.victim, r.victim.isDir())
	default:
		err = mayDelete(r.c, r.victim, isDir)
	}
	if err != nil {
		return err
	}
	if r.oldDir != r.newDir {
		for _, d := range []*Dentry{r.source, r.victim} {
			if d != nil && d.isDir() && (d == r.source || r.exchange) {
				if err := r.c.Creds().MayAccess(d.inode.Attributes(), MayWrite); err != nil {
					return err
				}
			}
		}
	}
	if r.source.mounts.Load() > 0 || r.victim != nil && r.victim.mounts.Load() > 0 {
		return unix.EBUSY
	}
	oldName := r.source.name
	err = r.oldDir.inode.Rename(r.c, oldName, r.source.inode, r.newDir.inode, newName, victim, r.exchange)
	if err != nil {
		return err
	}
	if r.exchange {
		r.victim.move(r.oldDir, oldName)
		r.source.parent, r.source.name = r.newDir, newName
		if !r.source.sb.Dynamic {
			r.newDir.remember(r.source)
		}
		r.told(oldName, newName)
		return nil
	}
	r.told(oldName, newName)
	if r.victim != nil {
		r.victim.detach()
		reap(r.victim.inode)
	}
	r.source.move(r.newDir, newName)
	if r.whiteout {
		_, err = r.oldDir.inode.Create(r.c, oldName, unix.S_IFCHR, 0)
	}
	return err
}
