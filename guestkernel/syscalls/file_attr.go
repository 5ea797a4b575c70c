package syscalls

import (
	"golang.org/x/sys/unix"

	"ringo/guestkernel/task"
	"ringo/guestkernel/vfs"
)

func init() {
	register(map[string]Handler{
		"chmod": chmod, "fchmod": fchmod, "fchmodat": fchmodat, "fchmodat2": fchmodat2,
		"chown": chown, "lchown": lchown, "fchown": fchown, "fchownat": fchownat,
		"utimensat": utimensat, "utime": utime, "utimes": utimes, "futimesat": futimesat,
		"umask": umask,
	})
}

func chmod(t *task.Task, a Args) (uint64, error) {
	p, err := lookup(t, unix.AT_FDCWD, a[0], vfs.Follow)
	if err != nil {
		return 0, err
	}
	return 0, vfs.Chmod(t, p, a.Uint(1))
}

func fchmod(t *task.Task, a Args) (uint64, error) {
	d, err := get(t, a.Int(0))
	if err != nil {
		return 0, err
	}
	defer d.Unref()
	return 0, vfs.Chmod(t, d.Path(), a.Uint(1))
}

func fchmodat(t *task.Task, a Args) (uint64, error) {
	p, err := lookup(t, a.Int(0), a[1], vfs.Follow)
	if err != nil {
		return 0, err
	}
	return 0, vfs.Chmod(t, p, a.Uint(2))
}

func fchmodat2(t *task.Task, a Args) (uint64, error) {
	p, err := lookupAt(t, a.Int(0), a[1], a.Uint(3), 0)
	if err != nil {
		return 0, err
	}
	return 0, vfs.Chmod(t, p, a.Uint(2))
}

// changeOwner gives p the owner that the caller means.
func changeOwner(t *task.Task, p vfs.Path, uid, gid uint32) error {
	uid, err := kernelUID(t, uid)
	if err != nil {
		return err
	}
	if gid, err = kernelGID(t, gid); err != nil {
		return err
	}
	return vfs.Chown(t, p, uid, gid)
}

func chown(t *task.Task, a Args) (uint64, error) {
	p, err := lookup(t, unix.AT_FDCWD, a[0], vfs.Follow)
	if err != nil {
		return 0, err
	}
	return 0, changeOwner(t, p, a.Uint(1), a.Uint(2))
}

func lchown(t *task.Task, a Args) (uint64, error) {
	p, err := lookup(t, unix.AT_FDCWD, a[0], 0)
	if err != nil {
		return 0, err
	}
	return 0, changeOwner(t, p, a.Uint(1), a.Uint(2))
}

func fchown(t *task.Task, a Args) (uint64, error) {
	d, err := get(t, a.Int(0))
	if err != nil {
		return 0, err
	}
	defer d.Unref()
	return 0, changeOwner(t, d.Path(), a.Uint(1), a.Uint(2))
}

func fchownat(t *task.Task, a Args) (uint64, error) {
	p, err := lookupAt(t, a.Int(0), a[1], a.Uint(4), 0)
	if err != nil {
		return 0, err
	}
	return 0, changeOwner(t, p, a.Uint(2), a.Uint(3))
}

// timePair reads two pairs of 64-bit words; unit is how many nanoseconds one of the second words is.
func timePair(t *task.Task, addr uint64, unit int64) (*[2]unix.Timespec, error) {
	if addr == 0 {
		return nil, nil
	}
	var b [32]byte
	if err := t.CopyInUser(addr, b[:]); err != nil {
		return nil, err
	}
	var ts [2]unix.Timespec
	for i := range ts {
		ts[i] = unix.Timespec{Sec: int64(le.Uint64(b[16*i:])), Nsec: int64(le.Uint64(b[16*i+8:]))}
		if unit != 1 {
			if ts[i].Nsec < 0 || ts[i].Nsec >= 1e9/unit {
				return nil, unix.EINVAL
			}
			ts[i].Nsec *= unit
		}
	}
	return &ts, nil
}

func utimensat(t *task.Task, a Args) (uint64, error) {
	times, err := timePair(t, a[2], 1)
	if err != nil {
		return 0, err
	}
	if times != nil && times[0].Nsec == unix.UTIME_OMIT && times[1].Nsec == unix.UTIME_OMIT {
		return 0, nil // without looking at the path, as in Linux
	}
	if a[1] == 0 && a.Int(0) != unix.AT_FDCWD {
		if a.Uint(3) != 0 {
			return 0, unix.EINVAL
		}
		d, err := get(t, a.Int(0))
		if err != nil {
			return 0, err
		}
		defer d.Unref()
		return 0, vfs.SetTimes(t, d.Path(), times)
	}
	p, err := lookupAt(t, a.Int(0), a[1], a.Uint(3), 0)
	if err != nil {
		return 0, err
	}
	return 0, vfs.SetTimes(t, p, times)
}

// utime serves struct utimbuf: two times in seconds.
func utime(t *task.Task, a Args) (uint64, error) {
	var times *[2]unix.Timespec
	if a[1] != 0 {
		var b [16]byte
		if err := t.CopyInUser(a[1], b[:]); err != nil {
			return 0, err
		}
		times = &[2]unix.Timespec{{Sec: int64(le.Uint64(b[:]))}, {Sec: int64(le.Uint64(b[8:]))}}
	}
	p, err := lookup(t, unix.AT_FDCWD, a[0], vfs.Follow)
	if err != nil {
		return 0, err
	}
	return 0, vfs.SetTimes(t, p, times)
}

func utimes(t *task.Task, a Args) (uint64, error) {
	return setTimeval(t, unix.AT_FDCWD, a[0], a[1])
}

func futimesat(t *task.Task, a Args) (uint64, error) { return setTimeval(t, a.Int(0), a[1], a[2]) }

func setTimeval(t *task.Task, dirfd int, pathAddr, timesAddr uint64) (uint64, error) {
	times, err := timePair(t, timesAddr, 1000)
	if err != nil {
		return 0, err
	}
	if pathAddr == 0 && dirfd != unix.AT_FDCWD {
		d, err := get(t, dirfd)
		if err != nil {
			return 0, err
		}
		defer d.Unref()
		return 0, vfs.SetTimes(t, d.Path(), times)
	}
	p, err := lookup(t, dirfd, pathAddr, vfs.Follow)
	if err != nil {
		return 0, err
	}
	return 0, vfs.SetTimes(t, p, times)
}

func umask(t *task.Task, a Args) (uint64, error) {
	return uint64(t.FS().SetUmask(a.Uint(0))), nil
}
