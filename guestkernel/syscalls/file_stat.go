package syscalls

import (
	"golang.org/x/sys/unix"

	"ringo/guestkernel/task"
	"ringo/guestkernel/vfs"
)

func init() {
	register(map[string]Handler{
		"stat": statCall, "lstat": lstat, "fstat": fstat, "newfstatat": newfstatat, "statx": statx,
		"statfs": statfs, "fstatfs": fstatfs,
		"access": access, "faccessat": faccessat, "faccessat2": faccessat2,
		"readlink": readlink, "readlinkat": readlinkat,
	})
}

// lookup resolves the path at a user address.
func lookup(t *task.Task, dirfd int, pathAddr uint64, flags int) (vfs.Path, error) {
	path, err := t.CopyInPath(pathAddr)
	if err != nil {
		return vfs.Path{}, err
	}
	return vfs.Lookup(t, vfs.AtFD(t, dirfd), path, flags)
}

// lookupAt is lookup with AT_SYMLINK_NOFOLLOW and AT_EMPTY_PATH; other flags must be in allowed.
func lookupAt(t *task.Task, dirfd int, pathAddr uint64, at, allowed uint32) (vfs.Path, error) {
	if at&^(unix.AT_SYMLINK_NOFOLLOW|unix.AT_EMPTY_PATH|allowed) != 0 {
		return vfs.Path{}, unix.EINVAL
	}
	flags := vfs.Follow
	if at&unix.AT_SYMLINK_NOFOLLOW != 0 {
		flags = 0
	}
	if at&unix.AT_EMPTY_PATH != 0 {
		flags |= vfs.EmptyPath
		if pathAddr == 0 { // as good as "" since Linux 6.11
			return vfs.Lookup(t, vfs.AtFD(t, dirfd), "", flags)
		}
	}
	return lookup(t, dirfd, pathAddr, flags)
}

// statOf answers the attributes with the owner as the caller names it.
func statOf(t *task.Task, p vfs.Path) vfs.Stat {
	s := vfs.StatOf(p.Inode())
	u := t.Creds().User
	s.UID, s.GID = u.UID(s.UID), u.GID(s.GID)
	return s
}

func putStat(t *task.Task, addr uint64, p vfs.Path, err error) (uint64, error) {
	if err != nil {
		return 0, err
	}
	var st unix.Stat_t
	return 0, t.CopyOutUser(addr, statBytes(&st, statOf(t, p)))
}

func statCall(t *task.Task, a Args) (uint64, error) {
	p, err := lookup(t, unix.AT_FDCWD, a[0], vfs.Follow)
	return putStat(t, a[1], p, err)
}

func lstat(t *task.Task, a Args) (uint64, error) {
	p, err := lookup(t, unix.AT_FDCWD, a[0], 0)
	return putStat(t, a[1], p, err)
}

func fstat(t *task.Task, a Args) (uint64, error) {
	d, err := t.FDs().Get(a.Int(0))
	if err != nil {
		return 0, err
	}
	defer d.Unref()
	return putStat(t, a[1], d.Path(), nil)
}

func newfstatat(t *task.Task, a Args) (uint64, error) {
	p, err := lookupAt(t, a.Int(0), a[1], a.Uint(3), unix.AT_NO_AUTOMOUNT)
	return putStat(t, a[2], p, err)
}

// statxSync are AT_STATX_FORCE_SYNC and AT_STATX_DONT_SYNC, of which one may be set.
const statxSync = unix.AT_STATX_FORCE_SYNC | unix.AT_STATX_DONT_SYNC

func statx(t *task.Task, a Args) (uint64, error) {
	flags, mask := a.Uint(2), a.Uint(3)
	if mask&unix.STATX__RESERVED != 0 || flags&statxSync == statxSync {
		return 0, unix.EINVAL
	}
	p, err := lookupAt(t, a.Int(0), a[1], flags, unix.AT_NO_AUTOMOUNT|statxSync)
	if err != nil {
		return 0, err
	}
	return 0, t.CopyOutUser(a[4], statxBytes(t, p, mask))
}

// statxBytes lays out struct statx, which is the same on both architectures. It answers the basic fields and the birth time always, like tmpfs.
func statxBytes(t *task.Task, p vfs.Path, mask uint32) []byte {
	s := statOf(t, p)
	b := make([]byte, 256)
	got := uint32(unix.STATX_BASIC_STATS | unix.STATX_BTIME)
	if mask&unix.STATX_MNT_ID != 0 {
		got |= unix.STATX_MNT_ID
	}
	le.PutUint32(b[0:], got)
	le.PutUint32(b[4:], s.Blksize)
	le.PutUint32(b[16:], s.Nlink)
	le.PutUint32(b[20:], s.UID)
	le.PutUint32(b[24:], s.GID)
	le.PutUint16(b[28:], uint16(s.Mode))
	le.PutUint64(b[32:], s.Ino)
	le.PutUint64(b[40:], uint64(s.Size))
	le.PutUint64(b[48:], uint64(s.Blocks))
	attributes := uint64(0)
	if p == p.Mount.Root() {
		attributes |= unix.STATX_ATTR_MOUNT_ROOT
	}
	le.PutUint64(b[8:], attributes)
	le.PutUint64(b[56:], unix.STATX_ATTR_MOUNT_ROOT)
	for i, ts := range []unix.Timespec{s.Atime, s.Btime, s.Ctime, s.Mtime} {
		le.PutUint64(b[64+16*i:], uint64(ts.Sec))
		le.PutUint32(b[72+16*i:], uint32(ts.Nsec))
	}
	le.PutUint32(b[128:], unix.Major(s.Rdev))
	le.PutUint32(b[132:], unix.Minor(s.Rdev))
	le.PutUint32(b[136:], unix.Major(s.Dev))
	le.PutUint32(b[140:], unix.Minor(s.Dev))
	if got&unix.STATX_MNT_ID != 0 {
		le.PutUint64(b[144:], uint64(p.Mount.ID))
	}
	return b
}

// Flags of f_flags (statfs(2)).
const (
	stRelatime = 0x1000
	stValid    = 0x20
)

func putStatfs(t *task.Task, addr uint64, p vfs.Path) error {
	s := p.Mount.Superblock().FS.Statfs()
	b := make([]byte, 120)
	flags := uint64(p.Mount.Flags())&(unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC) | stRelatime | stValid
	for i, v := range []uint64{uint64(s.Magic), uint64(s.Bsize), s.Blocks, s.Bfree, s.Bfree, s.Files, s.Ffree, s.Fsid, unix.NAME_MAX, uint64(s.Bsize), flags} {
		le.PutUint64(b[8*i:], v)
	}
	return t.CopyOutUser(addr, b)
}

func statfs(t *task.Task, a Args) (uint64, error) {
	p, err := lookup(t, unix.AT_FDCWD, a[0], vfs.Follow)
	if err != nil {
		return 0, err
	}
	return 0, putStatfs(t, a[1], p)
}

func fstatfs(t *task.Task, a Args) (uint64, error) {
	d, err := t.FDs().Get(a.Int(0))
	if err != nil {
		return 0, err
	}
	defer d.Unref()
	return 0, putStatfs(t, a[1], d.Path())
}

func accessPath(t *task.Task, dirfd int, addr uint64, mode, flags uint32) (uint64, error) {
	if mode&^7 != 0 || flags&^(unix.AT_EACCESS|unix.AT_SYMLINK_NOFOLLOW|unix.AT_EMPTY_PATH) != 0 {
		return 0, unix.EINVAL
	}
	p, err := lookupAt(t, dirfd, addr, flags&^unix.AT_EACCESS, 0)
	if err != nil {
		return 0, err
	}
	return 0, vfs.Access(t, p, mode, flags&unix.AT_EACCESS != 0)
}

func access(t *task.Task, a Args) (uint64, error) {
	return accessPath(t, unix.AT_FDCWD, a[0], a.Uint(1), 0)
}

func faccessat(t *task.Task, a Args) (uint64, error) {
	return accessPath(t, a.Int(0), a[1], a.Uint(2), 0)
}

func faccessat2(t *task.Task, a Args) (uint64, error) {
	return accessPath(t, a.Int(0), a[1], a.Uint(2), a.Uint(3))
}

func readlink(t *task.Task, a Args) (uint64, error) {
	return readLink(t, unix.AT_FDCWD, a[0], a[1], a.Int(2))
}

func readlinkat(t *task.Task, a Args) (uint64, error) {
	return readLink(t, a.Int(0), a[1], a[2], a.Int(3))
}

func readLink(t *task.Task, dirfd int, pathAddr, addr uint64, size int) (uint64, error) {
	if size <= 0 {
		return 0, unix.EINVAL
	}
	path, err := t.CopyInPath(pathAddr)
	if err != nil {
		return 0, err
	}
	p, err := vfs.Lookup(t, vfs.AtFD(t, dirfd), path, vfs.EmptyPath)
	if err != nil {
		return 0, err
	}
	if p.Inode().Attributes().Type() != unix.S_IFLNK {
		if path == "" {
			return 0, unix.ENOENT
		}
		return 0, unix.EINVAL
	}
	target, err := p.Inode().Readlink(t)
	if err != nil {
		return 0, err
	}
	p.Inode().Attributes().Accessed()
	n := min(len(target), size)
	return uint64(n), t.CopyOutUser(addr, []byte(target[:n]))
}
