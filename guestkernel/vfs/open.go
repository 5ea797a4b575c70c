package vfs

import (
	"time"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/wait"
)

// OpenWaiter is a File whose open may have to wait: a fifo waits for its other end.
type OpenWaiter interface {
	// WaitOpen answers ErrWouldBlock until the file is open for good.
	WaitOpen(d *Description) error
}

// Open is openat(2) up to the descriptor: it answers a description with one reference. Flags are O_*, mode the permissions of a file that it
// makes (before the umask).
func Open(c Caller, at At, path string, flags, mode uint32) (*Description, error) {
	const tmpfile = unix.O_TMPFILE &^ unix.O_DIRECTORY
	if flags&unix.O_PATH != 0 {
		flags &= unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	}
	if flags&tmpfile != 0 {
		if flags&unix.O_DIRECTORY == 0 || flags&unix.O_CREAT != 0 || flags&unix.O_ACCMODE == unix.O_RDONLY {
			return nil, unix.EINVAL
		}
		return openTemporary(c, at, path, flags, mode)
	}
	if flags&(unix.O_CREAT|unix.O_DIRECTORY) == unix.O_CREAT|unix.O_DIRECTORY {
		return nil, unix.EINVAL
	}
	w, err := at.walker(c, path)
	if err != nil {
		return nil, err
	}
	p, created, err := w.openTarget(path, flags, mode)
	if err != nil {
		return nil, err
	}
	return OpenPath(c, p, flags, created)
}

// openTarget finds or makes the object that an open means.
func (w *walker) openTarget(path string, flags, mode uint32) (p Path, created bool, err error) {
	create, excl := flags&unix.O_CREAT != 0, flags&unix.O_EXCL != 0
	if !create {
		p, err = w.resolve(path, flags&unix.O_NOFOLLOW == 0)
		return p, false, err
	}
	follow := flags&unix.O_NOFOLLOW == 0 && !excl
	for {
		l, err := w.parent(path)
		if err != nil {
			return p, false, err
		}
		if l.special() {
			if excl {
				return p, false, unix.EEXIST
			}
			return p, false, unix.EISDIR
		}
		if l.trailing {
			return p, false, unix.EISDIR
		}
		p, created, err = w.lookupOrCreate(l.name, mode)
		if err != nil || created {
			return p, created, err
		}
		if excl {
			return p, false, unix.EEXIST
		}
		if !follow || p.Dentry.inode.Attributes().Type() != unix.S_IFLNK {
			if p.Dentry.isDir() {
				return p, false, unix.EISDIR
			}
			return p, false, nil
		}
		target, jump, err := w.follow(p)
		if err != nil {
			return p, false, err
		}
		if jump.Dentry != nil {
			return jump, false, nil
		}
		if path = target; path == "" {
			return p, false, unix.ENOENT
		}
	}
}

// lookupOrCreate answers the entry name in the current directory, making a regular file if there is none.
func (w *walker) lookupOrCreate(name string, mode uint32) (Path, bool, error) {
	dir := w.at.Dentry
	if d, err := dir.child(name); err != unix.ENOENT {
		return Path{w.at.Mount, d}.topIf(err == nil), false, err
	}
	dir.sb.tree.Lock()
	defer dir.sb.tree.Unlock()
	if d, err := dir.childLocked(name); err != unix.ENOENT {
		return Path{w.at.Mount, d}.topIf(err == nil), false, err
	}
	if dir.sb.Dynamic {
		if makes(dir.inode) {
			return Path{}, false, unix.EACCES
		}
		return Path{}, false, unix.ENOENT
	}
	if w.at.Mount.ReadOnly() {
		return Path{}, false, unix.EROFS
	}
	if err := mayCreate(w.c, dir); err != nil {
		return Path{}, false, err
	}
	i, err := dir.inode.Create(w.c, name, unix.S_IFREG|mode&0o7777&^w.c.FS().Umask(), 0)
	if err != nil {
		return Path{}, false, err
	}
	tell(dir.inode, unix.IN_CREATE, 0, name)
	return Path{w.at.Mount, dir.attach(name, i)}, true, nil
}

func (p Path) topIf(ok bool) Path {
	if ok {
		return p.top()
	}
	return Path{}
}

// OpenPath opens the object at p; created says that this open made it, so that permissions are not checked again.
func OpenPath(c Caller, p Path, flags uint32, created bool) (*Description, error) {
	a := p.Dentry.inode.Attributes()
	kind := a.Type()
	if flags&unix.O_DIRECTORY != 0 && kind != unix.S_IFDIR {
		return nil, unix.ENOTDIR
	}
	if flags&unix.O_PATH != 0 {
		return newDescription(p, flags&^creationFlags)
	}
	want := [4]uint32{MayRead, MayWrite, MayRead | MayWrite, MayRead | MayWrite}[flags&unix.O_ACCMODE]
	if flags&unix.O_TRUNC != 0 {
		want |= MayWrite
	}
	switch kind {
	case unix.S_IFLNK:
		return nil, unix.ELOOP
	case unix.S_IFDIR:
		if want&MayWrite != 0 {
			return nil, unix.EISDIR
		}
	case unix.S_IFCHR, unix.S_IFBLK:
		if p.Mount.Flags()&unix.MS_NODEV != 0 {
			return nil, unix.EACCES
		}
	}
	if !created {
		if err := c.Creds().MayAccess(a, want); err != nil {
			return nil, err
		}
	}
	if flags&unix.O_NOATIME != 0 && !c.Creds().owns(a) {
		return nil, unix.EPERM
	}
	if want&MayWrite != 0 && p.Mount.ReadOnly() && (kind == unix.S_IFREG || kind == unix.S_IFDIR) {
		return nil, unix.EROFS
	}
	if kind == unix.S_IFSOCK {
		return nil, unix.ENXIO
	}
	d, err := newDescription(p, flags)
	if err != nil {
		return nil, err
	}
	if want&MayWrite != 0 && kind == unix.S_IFREG {
		if err := a.getWrite(); err != nil {
			d.Unref()
			return nil, err
		}
		d.writer = true
	}
	f, err := p.Dentry.inode.Open(c, d)
	if err != nil {
		d.Unref()
		return nil, err
	}
	d.file = f
	if o, ok := f.(OpenWaiter); ok {
		err := wait.Block(c, f, wait.In|wait.Out, time.Time{}, func() error { return o.WaitOpen(d) })
		if err != nil {
			d.Unref()
			return nil, err
		}
	}
	if flags&unix.O_TRUNC != 0 && kind == unix.S_IFREG && !created {
		if err := truncate(c, p.Dentry, 0); err != nil {
			d.Unref()
			return nil, err
		}
	}
	d.flags.Store(flags &^ creationFlags)
	if want&MayWrite != 0 && kind == unix.S_IFREG {
		d.pinned = true
		p.Mount.writers.Add(1)
		p.Mount.sb.writers.Add(1)
	}
	p.Dentry.happened(unix.IN_OPEN)
	return d, nil
}

// openTemporary is O_TMPFILE: a file without a name in the filesystem of a directory.
func openTemporary(c Caller, at At, path string, flags, mode uint32) (*Description, error) {
	dir, err := Lookup(c, at, path, Follow|WantDirectory)
	if err != nil {
		return nil, err
	}
	if dir.Mount.ReadOnly() {
		return nil, unix.EROFS
	}
	if err := mayCreate(c, dir.Dentry); err != nil {
		return nil, err
	}
	t, ok := dir.Inode().(interface {
		Temporary(c Caller, mode uint32) (Inode, error)
	})
	if !ok {
		return nil, unix.EOPNOTSUPP
	}
	i, err := t.Temporary(c, unix.S_IFREG|mode&0o7777&^c.FS().Umask())
	if err != nil {
		return nil, err
	}
	i.Attributes().nameable = flags&unix.O_EXCL == 0
	p := Path{dir.Mount, &Dentry{sb: dir.Dentry.sb, inode: i, parent: dir.Dentry, name: "#tmpfile", dead: true}}
	return OpenPath(c, p, flags&^(unix.O_TMPFILE|unix.O_CREAT), true)
}

// getWrite counts a writer of a regular file: ETXTBSY while it is being executed.
func (a *Attrs) getWrite() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.writers < 0 {
		return unix.ETXTBSY
	}
	a.writers++
	return nil
}

func (a *Attrs) putWrite() {
	a.mu.Lock()
	a.writers--
	a.mu.Unlock()
}

// DenyWrite keeps the file from being opened for writing while a program runs from it: ETXTBSY when somebody has it open so.
// AllowWrite undoes it.
func (a *Attrs) DenyWrite() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.writers > 0 {
		return unix.ETXTBSY
	}
	a.writers--
	return nil
}

// AllowWrite undoes a DenyWrite.
func (a *Attrs) AllowWrite() {
	a.mu.Lock()
	a.writers++
	a.mu.Unlock()
}
