package vfs

import (
	"strings"

	"golang.org/x/sys/unix"
)

// maxLinks is how many symbolic links one resolution follows before ELOOP (path_resolution(7)).
const maxLinks = 40

// walker resolves one path. Its place is always a directory.
type walker struct {
	c        Caller
	root     Path
	at       Path
	links    int
	restrict uint64 // Resolve*
}

// Restrictions of openat2(2).
const (
	ResolveNoXDev       = unix.RESOLVE_NO_XDEV
	ResolveNoMagicLinks = unix.RESOLVE_NO_MAGICLINKS
	ResolveNoSymlinks   = unix.RESOLVE_NO_SYMLINKS
	ResolveBeneath      = unix.RESOLVE_BENEATH
	ResolveInRoot       = unix.RESOLVE_IN_ROOT
	ResolveMask         = ResolveNoXDev | ResolveNoMagicLinks | ResolveNoSymlinks | ResolveBeneath | ResolveInRoot | 0x20 // and RESOLVE_CACHED: everything is
)

// last is the final component of a path, not yet looked up.
type last struct {
	name     string // "" for a path that is only slashes
	trailing bool   // slashes follow: it has to be a directory
}

// special reports a last component that cannot be created or removed: "/", "." and "..".
func (l last) special() bool { return l.name == "" || l.name == "." || l.name == ".." }

// enter goes to a directory.
func (w *walker) enter(p Path) error {
	if !p.Dentry.isDir() {
		return unix.ENOTDIR
	}
	w.at = p
	return nil
}

// search checks that the directory may be searched.
func (w *walker) search() error {
	a := w.at.Dentry.inode.Attributes()
	if !a.IsDir() {
		return unix.ENOTDIR
	}
	return w.c.Creds().MayAccess(a, MayExec)
}

// up goes to the parent directory, across mounts, not above the root.
func (w *walker) up() error {
	for {
		if w.at == w.root {
			if w.restrict&ResolveBeneath != 0 {
				return unix.EXDEV
			}
			return nil
		}
		if w.at.Dentry != w.at.Mount.root {
			tree := &w.at.Dentry.sb.tree
			tree.RLock()
			parent := w.at.Dentry.parent
			tree.RUnlock()
			if parent == nil {
				return nil
			}
			return w.cross(Path{w.at.Mount, parent})
		}
		parent, point := w.at.Mount.place()
		if parent == nil {
			w.at = w.at.top() // the hidden root
			return nil
		}
		if w.restrict&ResolveNoXDev != 0 {
			return unix.EXDEV
		}
		w.at = Path{parent, point}
	}
}

// cross goes to p or to what is mounted there.
func (w *walker) cross(p Path) error {
	w.at = p.top()
	if w.restrict&ResolveNoXDev != 0 && w.at.Mount != p.Mount {
		return unix.EXDEV
	}
	return nil
}

// absolute goes to the root for a path or link that starts with a slash. A path that starts there has left no mount.
func (w *walker) absolute(link bool) error {
	if w.restrict&ResolveBeneath != 0 {
		return unix.EXDEV
	}
	at := w.root.top()
	if link && w.restrict&ResolveNoXDev != 0 && at.Mount != w.at.Mount {
		return unix.EXDEV
	}
	w.at = at
	return nil
}

// component looks one component up, without following it.
func (w *walker) component(name string) (Path, error) {
	if err := w.search(); err != nil {
		return Path{}, err
	}
	switch name {
	case "", ".":
		return w.at, nil
	case "..":
		err := w.up()
		return w.at, err
	}
	d, err := w.at.Dentry.child(name)
	if err != nil {
		return Path{}, err
	}
	p := Path{w.at.Mount, d}.top()
	if w.restrict&ResolveNoXDev != 0 && p.Mount != w.at.Mount {
		return Path{}, unix.EXDEV
	}
	return p, nil
}

// parent resolves all but the last component of path and answers that. An absolute path starts at the root.
func (w *walker) parent(path string) (last, error) {
	if path == "" {
		return last{}, unix.ENOENT
	}
	if path[0] == '/' {
		if err := w.absolute(false); err != nil {
			return last{}, err
		}
	}
	for {
		path = strings.TrimLeft(path, "/")
		name, rest, slash := strings.Cut(path, "/")
		if rest = strings.TrimLeft(rest, "/"); rest == "" {
			if err := w.search(); err != nil {
				return last{}, err
			}
			return last{name, slash}, nil
		}
		p, err := w.component(name)
		if err != nil {
			return last{}, err
		}
		if p.Dentry.inode.Attributes().Type() == unix.S_IFLNK {
			target, jump, err := w.follow(p)
			if err != nil {
				return last{}, err
			}
			if jump.Dentry == nil {
				if target == "" {
					return last{}, unix.ENOENT
				}
				if target[0] == '/' {
					if err := w.absolute(true); err != nil {
						return last{}, err
					}
				}
				path = target + "/" + rest
				continue
			}
			p = jump
		}
		if err := w.enter(p); err != nil {
			return last{}, err
		}
		path = rest
	}
}

// follow reads a symbolic link: its text, or the path it jumps to.
func (w *walker) follow(p Path) (string, Path, error) {
	if w.links++; w.links > maxLinks {
		return "", Path{}, unix.ELOOP
	}
	if w.restrict&ResolveNoSymlinks != 0 {
		return "", Path{}, unix.ELOOP
	}
	if m, ok := p.Dentry.inode.(MagicLink); ok {
		if w.restrict&(ResolveNoMagicLinks|ResolveBeneath|ResolveInRoot) != 0 {
			if w.restrict&ResolveNoMagicLinks != 0 {
				return "", Path{}, unix.ELOOP
			}
			return "", Path{}, unix.EXDEV
		}
		jump, err := m.Jump(w.c)
		return "", jump, err
	}
	target, err := p.Dentry.inode.Readlink(w.c)
	p.Dentry.inode.Attributes().Accessed()
	return target, Path{}, err
}

// resolve resolves path to an existing object; follow says what happens to a symbolic link in the last component. A trailing slash follows
// it anyway and wants a directory.
func (w *walker) resolve(path string, follow bool) (Path, error) {
	directory := false
	for {
		l, err := w.parent(path)
		if err != nil {
			return Path{}, err
		}
		directory = directory || l.trailing
		p, err := w.component(l.name)
		if err != nil {
			return Path{}, err
		}
		if (follow || directory) && p.Dentry.inode.Attributes().Type() == unix.S_IFLNK {
			target, jump, err := w.follow(p)
			if err != nil {
				return Path{}, err
			}
			if jump.Dentry == nil {
				path = target
				continue
			}
			p = jump
		}
		if directory && !p.Dentry.isDir() {
			return Path{}, unix.ENOTDIR
		}
		return p, nil
	}
}

// At is where relative paths start.
type At struct {
	start    Path
	err      error
	restrict uint64
}

// Restrict answers at with the restrictions of openat2(2) (Resolve*).
func (at At) Restrict(resolve uint64) At {
	at.restrict = resolve
	return at
}

// AtFD answers the start of the *at calls: dirfd or AT_FDCWD. The error of a bad dirfd shows only for relative paths, as in Linux.
func AtFD(c Caller, dirfd int) At {
	if dirfd == unix.AT_FDCWD {
		return At{start: c.FS().Cwd()}
	}
	d, err := c.FDs().Get(dirfd)
	if err != nil {
		return At{err: err}
	}
	defer d.Unref()
	return At{start: d.path}
}

// AtCwd starts at the working directory.
func AtCwd(c Caller) At { return At{start: c.FS().Cwd()} }

// AtPath starts at p.
func AtPath(p Path) At { return At{start: p} }

// walker answers a walker at the start.
func (at At) walker(c Caller, path string) (*walker, error) {
	if path == "" {
		return nil, unix.ENOENT
	}
	if path[0] != '/' {
		if at.err != nil {
			return nil, at.err
		}
		if !at.start.Dentry.isDir() {
			return nil, unix.ENOTDIR
		}
	}
	w := &walker{c: c, root: c.FS().Root(), at: at.start, restrict: at.restrict}
	if at.restrict&(ResolveBeneath|ResolveInRoot) != 0 {
		if at.err != nil {
			return nil, at.err
		}
		w.root = at.start
	}
	return w, nil
}

// Lookup flags.
const (
	Follow        = 1 << iota // follow a symbolic link in the last component
	EmptyPath                 // AT_EMPTY_PATH: an empty path is the start itself
	WantDirectory             // ENOTDIR for anything else
)

// Lookup resolves path to an existing object.
func Lookup(c Caller, at At, path string, flags int) (Path, error) {
	var p Path
	if path == "" && flags&EmptyPath != 0 {
		if at.err != nil {
			return Path{}, at.err
		}
		p = at.start
	} else {
		w, err := at.walker(c, path)
		if err != nil {
			return Path{}, err
		}
		if p, err = w.resolve(path, flags&Follow != 0); err != nil {
			return Path{}, err
		}
	}
	if flags&WantDirectory != 0 && !p.Dentry.isDir() {
		return Path{}, unix.ENOTDIR
	}
	return p, nil
}
