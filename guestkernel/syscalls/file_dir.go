package syscalls

import (
	"golang.org/x/sys/unix"

	"ringo/guestkernel/task"
	"ringo/guestkernel/vfs"
)

func init() {
	register(map[string]Handler{
		"getdents64": getdents64, "getdents": getdents,
		"chdir": chdir, "fchdir": fchdir, "getcwd": getcwd, "chroot": chroot,
		"mkdir": mkdir, "mkdirat": mkdirat, "mknod": mknod, "mknodat": mknodat,
		"rmdir": rmdir, "unlink": unlink, "unlinkat": unlinkat,
		"link": link, "linkat": linkat, "symlink": symlink, "symlinkat": symlinkat,
		"rename": rename, "renameat": renameat, "renameat2": renameat2,
	})
}

// readDir fills user memory with entries that encode appends, as long as they fit.
func readDir(t *task.Task, fd int, addr uint64, size uint32, encode func([]byte, vfs.Dirent) []byte) (uint64, error) {
	d, err := get(t, fd)
	if err != nil {
		return 0, err
	}
	defer d.Unref()
	limit := int(min(size, 1<<20))
	var out []byte
	full := false
	// The position moves past entries as they are taken; if user memory turns out to be bad, it goes back.
	before, err := d.Seek(t, 0, unix.SEEK_CUR)
	if err != nil && d.Inode().Attributes().IsDir() {
		return 0, err
	}
	err = d.ReadDir(t, func(e vfs.Dirent) bool {
		grown := encode(out, e)
		if len(grown) > limit {
			full = true
			return false
		}
		out = grown
		return true
	})
	if err != nil {
		return 0, err
	}
	if len(out) == 0 && full {
		return 0, unix.EINVAL
	}
	if err := t.CopyOutUser(addr, out); err != nil {
		_, _ = d.Seek(t, before, unix.SEEK_SET)
		return 0, err
	}
	return uint64(len(out)), nil
}

// pad8 appends zeros up to a multiple of 8 bytes from start on.
func pad8(b []byte, start int) []byte {
	for (len(b)-start)%8 != 0 {
		b = append(b, 0)
	}
	return b
}

func getdents64(t *task.Task, a Args) (uint64, error) {
	return readDir(t, a.Int(0), a[1], a.Uint(2), func(b []byte, e vfs.Dirent) []byte {
		start := len(b)
		b = le.AppendUint64(b, e.Ino)
		b = le.AppendUint64(b, uint64(e.Next))
		b = append(b, 0, 0, e.Type)
		b = pad8(append(append(b, e.Name...), 0), start)
		le.PutUint16(b[start+16:], uint16(len(b)-start))
		return b
	})
}

// getdents has the type in the last byte of the record.
func getdents(t *task.Task, a Args) (uint64, error) {
	return readDir(t, a.Int(0), a[1], a.Uint(2), func(b []byte, e vfs.Dirent) []byte {
		start := len(b)
		b = le.AppendUint64(b, e.Ino)
		b = le.AppendUint64(b, uint64(e.Next))
		b = append(b, 0, 0)
		b = pad8(append(append(b, e.Name...), 0, 0), start)
		b[len(b)-1] = e.Type
		le.PutUint16(b[start+16:], uint16(len(b)-start))
		return b
	})
}

// enterable checks that p is a directory that the caller may search.
func enterable(t *task.Task, p vfs.Path, err error) (vfs.Path, error) {
	if err == nil {
		if !p.Inode().Attributes().IsDir() {
			return p, unix.ENOTDIR
		}
		err = t.Creds().MayAccess(p.Inode().Attributes(), vfs.MayExec)
	}
	return p, err
}

func chdir(t *task.Task, a Args) (uint64, error) {
	p, err := lookup(t, unix.AT_FDCWD, a[0], vfs.Follow|vfs.WantDirectory)
	if p, err = enterable(t, p, err); err != nil {
		return 0, err
	}
	t.FS().SetCwd(p)
	return 0, nil
}

func fchdir(t *task.Task, a Args) (uint64, error) {
	d, err := t.FDs().Get(a.Int(0))
	if err != nil {
		return 0, err
	}
	defer d.Unref()
	p, err := enterable(t, d.Path(), nil)
	if err != nil {
		return 0, err
	}
	t.FS().SetCwd(p)
	return 0, nil
}

func chroot(t *task.Task, a Args) (uint64, error) {
	p, err := lookup(t, unix.AT_FDCWD, a[0], vfs.Follow|vfs.WantDirectory)
	if p, err = enterable(t, p, err); err != nil {
		return 0, err
	}
	if !t.Creds().HasIn(t.Creds().User, unix.CAP_SYS_CHROOT) {
		return 0, unix.EPERM
	}
	t.FS().SetRoot(p)
	return 0, nil
}

func getcwd(t *task.Task, a Args) (uint64, error) {
	cwd := t.FS().Cwd()
	if cwd.Deleted() {
		return 0, unix.ENOENT
	}
	name, reachable := cwd.From(t.FS().Root())
	if !reachable {
		name = "(unreachable)" + name
	}
	if uint64(len(name)+1) > a[1] {
		return 0, unix.ERANGE
	}
	return uint64(len(name) + 1), t.CopyOutUser(a[0], append([]byte(name), 0))
}

// onPath runs op with the path at a user address.
func onPath(t *task.Task, dirfd int, addr uint64, op func(at vfs.At, path string) error) (uint64, error) {
	path, err := t.CopyInPath(addr)
	if err != nil {
		return 0, err
	}
	return 0, op(vfs.AtFD(t, dirfd), path)
}

func mkdir(t *task.Task, a Args) (uint64, error) {
	return onPath(t, unix.AT_FDCWD, a[0], func(at vfs.At, path string) error { return vfs.Mkdir(t, at, path, a.Uint(1)) })
}

func mkdirat(t *task.Task, a Args) (uint64, error) {
	return onPath(t, a.Int(0), a[1], func(at vfs.At, path string) error { return vfs.Mkdir(t, at, path, a.Uint(2)) })
}

func mknod(t *task.Task, a Args) (uint64, error) {
	return onPath(t, unix.AT_FDCWD, a[0], func(at vfs.At, path string) error {
		return vfs.Mknod(t, at, path, a.Uint(1), uint64(a.Uint(2)))
	})
}

func mknodat(t *task.Task, a Args) (uint64, error) {
	return onPath(t, a.Int(0), a[1], func(at vfs.At, path string) error {
		return vfs.Mknod(t, at, path, a.Uint(2), uint64(a.Uint(3)))
	})
}

func rmdir(t *task.Task, a Args) (uint64, error) {
	return onPath(t, unix.AT_FDCWD, a[0], func(at vfs.At, path string) error { return vfs.Rmdir(t, at, path) })
}

func unlink(t *task.Task, a Args) (uint64, error) {
	return onPath(t, unix.AT_FDCWD, a[0], func(at vfs.At, path string) error { return vfs.Unlink(t, at, path) })
}

func unlinkat(t *task.Task, a Args) (uint64, error) {
	if a.Uint(2)&^unix.AT_REMOVEDIR != 0 {
		return 0, unix.EINVAL
	}
	return onPath(t, a.Int(0), a[1], func(at vfs.At, path string) error {
		if a.Uint(2)&unix.AT_REMOVEDIR != 0 {
			return vfs.Rmdir(t, at, path)
		}
		return vfs.Unlink(t, at, path)
	})
}

func link(t *task.Task, a Args) (uint64, error) {
	return makeLink(t, unix.AT_FDCWD, a[0], unix.AT_FDCWD, a[1], 0)
}

func linkat(t *task.Task, a Args) (uint64, error) {
	return makeLink(t, a.Int(0), a[1], a.Int(2), a[3], a.Uint(4))
}

func makeLink(t *task.Task, oldFD int, oldAddr uint64, newFD int, newAddr uint64, flags uint32) (uint64, error) {
	if flags&^(unix.AT_SYMLINK_FOLLOW|unix.AT_EMPTY_PATH) != 0 {
		return 0, unix.EINVAL
	}
	how := 0
	if flags&unix.AT_SYMLINK_FOLLOW != 0 {
		how |= vfs.Follow
	}
	if flags&unix.AT_EMPTY_PATH != 0 {
		how |= vfs.EmptyPath
	}
	old, err := lookup(t, oldFD, oldAddr, how)
	if err != nil {
		return 0, err
	}
	return onPath(t, newFD, newAddr, func(at vfs.At, path string) error { return vfs.Link(t, old, at, path) })
}

func symlink(t *task.Task, a Args) (uint64, error) {
	return makeSymlink(t, a[0], unix.AT_FDCWD, a[1])
}

func symlinkat(t *task.Task, a Args) (uint64, error) { return makeSymlink(t, a[0], a.Int(1), a[2]) }

func makeSymlink(t *task.Task, targetAddr uint64, dirfd int, addr uint64) (uint64, error) {
	target, err := t.CopyInPath(targetAddr)
	if err != nil {
		return 0, err
	}
	return onPath(t, dirfd, addr, func(at vfs.At, path string) error { return vfs.Symlink(t, target, at, path) })
}

func rename(t *task.Task, a Args) (uint64, error) {
	return move(t, unix.AT_FDCWD, a[0], unix.AT_FDCWD, a[1], 0)
}

func renameat(t *task.Task, a Args) (uint64, error) {
	return move(t, a.Int(0), a[1], a.Int(2), a[3], 0)
}

func renameat2(t *task.Task, a Args) (uint64, error) {
	return move(t, a.Int(0), a[1], a.Int(2), a[3], a.Uint(4))
}

func move(t *task.Task, oldFD int, oldAddr uint64, newFD int, newAddr uint64, flags uint32) (uint64, error) {
	old, err := t.CopyInPath(oldAddr)
	if err != nil {
		return 0, err
	}
	return onPath(t, newFD, newAddr, func(at vfs.At, path string) error {
		return vfs.Rename(t, vfs.AtFD(t, oldFD), old, at, path, flags)
	})
}
