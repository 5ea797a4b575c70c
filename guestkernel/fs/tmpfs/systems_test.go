package tmpfs_test

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/vfs"
	"ringo/guestkernel/vfs/vfstest"
)

// The two sides of the differential test: the host's Linux, and ours.

type stat struct {
	mode, nlink, uid, gid uint32
	size, blocks          int64
}

// host is the Linux side, in a root directory of its own.
type host struct{}

func (h host) open(path string, flags, mode uint32) (int, error) {
	return unix.Open(path, int(flags), mode)
}
func (h host) close(fd int) error { return unix.Close(fd) }
func (h host) read(fd, n int) (string, error) {
	b := make([]byte, n)
	n, err := unix.Read(fd, b)
	return string(b[:max(n, 0)]), err
}
func (h host) write(fd int, s string) (int, error) {
	n, err := unix.Write(fd, []byte(s))
	return max(n, 0), err
}
func (h host) pwrite(fd int, s string, off int64) (int, error) {
	n, err := unix.Pwrite(fd, []byte(s), off)
	return max(n, 0), err
}
func (h host) pread(fd, n int, off int64) (string, error) {
	b := make([]byte, n)
	n, err := unix.Pread(fd, b, off)
	return string(b[:max(n, 0)]), err
}
func (h host) lseek(fd int, off int64, whence int) (int64, error) {
	n, err := unix.Seek(fd, off, whence)
	return max(n, 0), err
}
func (h host) ftruncate(fd int, size int64) error { return unix.Ftruncate(fd, size) }
func (h host) fallocate(fd int, mode uint32, off, n int64) error {
	return unix.Fallocate(fd, mode, off, n)
}
func (h host) getfl(fd int) (int, error) {
	n, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	return max(n, 0) &^ 0x8000, err // O_LARGEFILE is the system-call layer's
}
func (h host) mkdir(path string, mode uint32) error { return unix.Mkdir(path, mode) }
func (h host) mknod(path string, mode uint32) error { return unix.Mknod(path, mode, 0xf04d) }
func (h host) rmdir(path string) error              { return unix.Rmdir(path) }
func (h host) unlink(path string) error             { return unix.Unlink(path) }
func (h host) symlink(target, path string) error    { return unix.Symlink(target, path) }
func (h host) readlink(path string) (string, error) {
	b := make([]byte, 4096)
	n, err := unix.Readlink(path, b)
	return string(b[:max(n, 0)]), err
}
func (h host) link(old, path string, follow bool) error {
	flags := 0
	if follow {
		flags = unix.AT_SYMLINK_FOLLOW
	}
	return unix.Linkat(unix.AT_FDCWD, old, unix.AT_FDCWD, path, flags)
}
func (h host) rename(old, path string, flags uint32) error {
	return unix.Renameat2(unix.AT_FDCWD, old, unix.AT_FDCWD, path, uint(flags))
}
func (h host) stat(path string, follow bool) (stat, error) {
	var st unix.Stat_t
	flags := 0
	if !follow {
		flags = unix.AT_SYMLINK_NOFOLLOW
	}
	err := unix.Fstatat(unix.AT_FDCWD, path, &st, flags)
	return stat{st.Mode, uint32(st.Nlink), st.Uid, st.Gid, st.Size, st.Blocks}, err
}
func (h host) chmod(path string, mode uint32) error {
	return unix.Fchmodat(unix.AT_FDCWD, path, mode, 0)
}
func (h host) chown(path string, uid, gid uint32, follow bool) error {
	flags := 0
	if !follow {
		flags = unix.AT_SYMLINK_NOFOLLOW
	}
	return unix.Fchownat(unix.AT_FDCWD, path, int(int32(uid)), int(int32(gid)), flags)
}
func (h host) truncate(path string, size int64) error { return unix.Truncate(path, size) }
func (h host) access(path string, mode uint32) error {
	return unix.Faccessat(unix.AT_FDCWD, path, mode, unix.AT_EACCESS)
}
func (h host) chdir(path string) error { return unix.Chdir(path) }
func (h host) getcwd() (string, error) {
	s, err := unix.Getwd()
	return s, err
}
func (h host) list(path string) (string, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	f := make([]byte, 64<<10)
	names := map[string]bool{}
	for {
		n, err := unix.Getdents(fd, f)
		if err != nil {
			return "", err
		}
		if n == 0 {
			break
		}
		for b := f[:n]; len(b) > 0; {
			size := int(b[16]) | int(b[17])<<8
			name, _, _ := strings.Cut(string(b[19:size]), "\x00")
			names[fmt.Sprintf("%s/%d", name, b[18])] = true
			b = b[size:]
		}
	}
	return sortedKeys(names), nil
}
func (h host) become(uid, gid uint32) {
	unix.Setfsgid(int(gid))
	unix.Setfsuid(int(uid))
}

func sortedKeys(m map[string]bool) string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	for i := range keys {
		for j := i + 1; j < len(keys); j++ {
			if keys[j] < keys[i] {
				keys[i], keys[j] = keys[j], keys[i]
			}
		}
	}
	return strings.Join(keys, " ")
}

// guest is our side.
type guest struct{ c *vfstest.Caller }

func (g guest) at() vfs.At { return vfs.AtCwd(g.c) }

func (g guest) fd(fd int) (*vfs.Description, error) {
	d, err := g.c.FDs().Get(fd)
	if err == nil && d.PathOnly() {
		d.Unref()
		return nil, unix.EBADF
	}
	return d, err
}
func (g guest) open(path string, flags, mode uint32) (int, error) {
	d, err := vfs.Open(g.c, g.at(), path, flags, mode)
	if err != nil {
		return 0, err
	}
	return g.c.FDs().Install(d, 0, false, 1024)
}
func (g guest) close(fd int) error {
	d, err := g.c.FDs().Remove(fd)
	if err == nil {
		d.Unref()
	}
	return err
}

func with[T any](g guest, fd int, op func(d *vfs.Description) (T, error)) (T, error) {
	d, err := g.fd(fd)
	if err != nil {
		var zero T
		return zero, err
	}
	defer d.Unref()
	return op(d)
}

func (g guest) read(fd, n int) (string, error) {
	return with(g, fd, func(d *vfs.Description) (string, error) {
		b := make(vfs.Bytes, n)
		n, err := d.Read(g.c, b)
		return string(b[:n]), err
	})
}
func (g guest) write(fd int, s string) (int, error) {
	return with(g, fd, func(d *vfs.Description) (int, error) { return d.Write(g.c, vfs.Bytes(s)) })
}
func (g guest) pwrite(fd int, s string, off int64) (int, error) {
	if off < 0 {
		return 0, unix.EINVAL
	}
	return with(g, fd, func(d *vfs.Description) (int, error) { return d.WriteAt(g.c, vfs.Bytes(s), off) })
}
func (g guest) pread(fd, n int, off int64) (string, error) {
	if off < 0 {
		return "", unix.EINVAL
	}
	return with(g, fd, func(d *vfs.Description) (string, error) {
		b := make(vfs.Bytes, n)
		n, err := d.ReadAt(g.c, b, off)
		return string(b[:n]), err
	})
}
func (g guest) lseek(fd int, off int64, whence int) (int64, error) {
	return with(g, fd, func(d *vfs.Description) (int64, error) { return d.Seek(g.c, off, whence) })
}
func (g guest) ftruncate(fd int, size int64) error {
	if size < 0 {
		return unix.EINVAL
	}
	_, err := with(g, fd, func(d *vfs.Description) (int, error) { return 0, d.Truncate(g.c, size) })
	return err
}
func (g guest) fallocate(fd int, mode uint32, off, n int64) error {
	_, err := with(g, fd, func(d *vfs.Description) (int, error) { return 0, d.Allocate(g.c, mode, off, n) })
	return err
}
func (g guest) getfl(fd int) (int, error) {
	d, err := g.c.FDs().Get(fd)
	if err != nil {
		return 0, err
	}
	defer d.Unref()
	return int(d.StatusFlags()), nil
}
func (g guest) mkdir(path string, mode uint32) error { return vfs.Mkdir(g.c, g.at(), path, mode) }
func (g guest) mknod(path string, mode uint32) error {
	return vfs.Mknod(g.c, g.at(), path, mode, 0xf04d)
}
func (g guest) rmdir(path string) error           { return vfs.Rmdir(g.c, g.at(), path) }
func (g guest) unlink(path string) error          { return vfs.Unlink(g.c, g.at(), path) }
func (g guest) symlink(target, path string) error { return vfs.Symlink(g.c, target, g.at(), path) }
func (g guest) lookup(path string, follow bool) (vfs.Path, error) {
	flags := 0
	if follow {
		flags = vfs.Follow
	}
	return vfs.Lookup(g.c, g.at(), path, flags)
}
func (g guest) readlink(path string) (string, error) {
	p, err := g.lookup(path, false)
	if err != nil {
		return "", err
	}
	return p.Inode().Readlink(g.c)
}
func (g guest) link(old, path string, follow bool) error {
	p, err := g.lookup(old, follow)
	if err != nil {
		return err
	}
	return vfs.Link(g.c, p, g.at(), path)
}
func (g guest) rename(old, path string, flags uint32) error {
	return vfs.Rename(g.c, g.at(), old, g.at(), path, flags)
}
func (g guest) stat(path string, follow bool) (stat, error) {
	p, err := g.lookup(path, follow)
	if err != nil {
		return stat{}, err
	}
	s := vfs.StatOf(p.Inode())
	return stat{s.Mode, s.Nlink, s.UID, s.GID, s.Size, s.Blocks}, nil
}
func (g guest) chmod(path string, mode uint32) error {
	p, err := g.lookup(path, true)
	if err != nil {
		return err
	}
	return vfs.Chmod(g.c, p, mode)
}
func (g guest) chown(path string, uid, gid uint32, follow bool) error {
	p, err := g.lookup(path, follow)
	if err != nil {
		return err
	}
	return vfs.Chown(g.c, p, uid, gid)
}
func (g guest) truncate(path string, size int64) error {
	if size < 0 {
		return unix.EINVAL
	}
	p, err := g.lookup(path, true)
	if err != nil {
		return err
	}
	return vfs.Truncate(g.c, p, size)
}
func (g guest) access(path string, mode uint32) error {
	p, err := g.lookup(path, true)
	if err != nil {
		return err
	}
	return vfs.Access(g.c, p, mode, true)
}
func (g guest) chdir(path string) error {
	p, err := vfs.Lookup(g.c, g.at(), path, vfs.Follow|vfs.WantDirectory)
	if err == nil {
		err = g.c.Creds().MayAccess(p.Inode().Attributes(), vfs.MayExec)
	}
	if err != nil {
		return err
	}
	g.c.FS().SetCwd(p)
	return nil
}
func (g guest) getcwd() (string, error) {
	p := g.c.FS().Cwd()
	if p.Deleted() {
		return "", unix.ENOENT
	}
	return p.String(), nil
}
func (g guest) list(path string) (string, error) {
	d, err := vfs.Open(g.c, g.at(), path, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return "", err
	}
	defer d.Unref()
	names := map[string]bool{}
	for {
		before := len(names)
		// A few at a time, to cross calls.
		room := 3
		err := d.ReadDir(g.c, func(e vfs.Dirent) bool {
			if room == 0 {
				return false
			}
			room--
			names[fmt.Sprintf("%s/%d", e.Name, e.Type)] = true
			return true
		})
		if err != nil {
			return "", err
		}
		if len(names) == before {
			return sortedKeys(names), nil
		}
	}
}
func (g guest) become(uid, gid uint32) {
	creds := vfs.RootCreds()
	creds.FSUID, creds.FSGID = uid, gid
	if uid != 0 {
		// setfsuid drops the file-system capabilities (capabilities(7)).
		const fs = 1<<unix.CAP_CHOWN | 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_DAC_READ_SEARCH | 1<<unix.CAP_FOWNER | 1<<unix.CAP_FSETID | 1<<unix.CAP_LINUX_IMMUTABLE | 1<<unix.CAP_MKNOD | 1<<unix.CAP_MAC_OVERRIDE
		creds.Effective &^= fs
	}
	g.c.Credentials = creds
}
