package syscalls

import (
	"golang.org/x/sys/unix"

	"ringo/guestkernel/fs/pipefs"
	"ringo/guestkernel/task"
	"ringo/guestkernel/vfs"
)

func init() {
	register(map[string]Handler{
		"open":        open,
		"openat":      openat,
		"openat2":     openat2,
		"creat":       creat,
		"close":       closeFD,
		"close_range": closeRange,
		"dup":         dup,
		"dup2":        dup2,
		"dup3":        dup3,
		"pipe":        pipe,
		"pipe2":       pipe2,
		"fcntl":       fcntl,
		"flock":       flock,
	})
}

// largeFile is O_LARGEFILE, which 64-bit kernels set on every open: arm64 and amd64 have the values of O_LARGEFILE and O_NOFOLLOW swapped.
const largeFile = 0o500000 ^ unix.O_NOFOLLOW

// validOpen are the flags that open(2) knows; others are ignored, but openat2(2) refuses them.
const validOpen = unix.O_ACCMODE | unix.O_CREAT | unix.O_EXCL | unix.O_NOCTTY | unix.O_TRUNC | unix.O_APPEND | unix.O_NONBLOCK | unix.O_SYNC |
	unix.O_ASYNC | unix.O_DIRECT | largeFile | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_NOATIME | unix.O_CLOEXEC | unix.O_PATH | unix.O_TMPFILE

// get answers the description of a descriptor that can be used for I/O: O_PATH descriptors are EBADF. The caller drops it.
func get(t *task.Task, fd int) (*vfs.Description, error) {
	d, err := t.FDs().Get(fd)
	if err == nil && d.PathOnly() {
		d.Unref()
		return nil, unix.EBADF
	}
	return d, err
}

// install makes a descriptor for d, or drops d.
func install(t *task.Task, d *vfs.Description, cloexec bool) (uint64, error) {
	fd, err := t.FDs().Install(d, 0, cloexec, t.Rlimit(unix.RLIMIT_NOFILE))
	if err != nil {
		d.Unref()
	}
	return uint64(fd), err
}

func openPath(t *task.Task, dirfd int, pathAddr uint64, flags, mode uint32) (uint64, error) {
	path, err := t.CopyInPath(pathAddr)
	if err != nil {
		return 0, err
	}
	if err := t.FDs().HasRoom(t.Rlimit(unix.RLIMIT_NOFILE)); err != nil {
		return 0, err
	}
	flags = flags&validOpen | largeFile
	d, err := vfs.Open(t, vfs.AtFD(t, dirfd), path, flags, mode)
	if err != nil {
		return 0, err
	}
	return install(t, d, flags&unix.O_CLOEXEC != 0)
}

func open(t *task.Task, a Args) (uint64, error) {
	return openPath(t, unix.AT_FDCWD, a[0], a.Uint(1), a.Uint(2))
}

func openat(t *task.Task, a Args) (uint64, error) {
	return openPath(t, a.Int(0), a[1], a.Uint(2), a.Uint(3))
}

func creat(t *task.Task, a Args) (uint64, error) {
	return openPath(t, unix.AT_FDCWD, a[0], unix.O_CREAT|unix.O_WRONLY|unix.O_TRUNC, a.Uint(1))
}

// openat2 serves struct open_how {flags, mode, resolve}.
func openat2(t *task.Task, a Args) (uint64, error) {
	const size = 24
	if a[3] < size {
		return 0, unix.EINVAL
	}
	if a[3] > vfs.PageSize {
		return 0, unix.E2BIG
	}
	how := make([]byte, a[3])
	if err := t.CopyInUser(a[2], how); err != nil {
		return 0, err
	}
	for _, b := range how[size:] {
		if b != 0 {
			return 0, unix.E2BIG
		}
	}
	flags, mode, resolve := le.Uint64(how), le.Uint64(how[8:]), le.Uint64(how[16:])
	creates := flags&(unix.O_CREAT|(unix.O_TMPFILE&^unix.O_DIRECTORY)) != 0
	const pathFlags = unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	switch {
	case flags&^validOpen != 0 || resolve&^vfs.ResolveMask != 0:
		return 0, unix.EINVAL
	case resolve&vfs.ResolveBeneath != 0 && resolve&vfs.ResolveInRoot != 0:
		return 0, unix.EINVAL
	case creates && mode&^0o7777 != 0, !creates && mode != 0:
		return 0, unix.EINVAL
	case flags&unix.O_PATH != 0 && flags&^pathFlags != 0:
		return 0, unix.EINVAL
	}
	path, err := t.CopyInPath(a[1])
	if err != nil {
		return 0, err
	}
	if err := t.FDs().HasRoom(t.Rlimit(unix.RLIMIT_NOFILE)); err != nil {
		return 0, err
	}
	d, err := vfs.Open(t, vfs.AtFD(t, a.Int(0)).Restrict(resolve), path, uint32(flags)|largeFile, uint32(mode))
	if err != nil {
		return 0, err
	}
	return install(t, d, flags&unix.O_CLOEXEC != 0)
}

func closeFD(t *task.Task, a Args) (uint64, error) {
	d, err := t.FDs().Remove(a.Int(0))
	if err != nil {
		return 0, err
	}
	d.Unref()
	return 0, nil
}

func closeRange(t *task.Task, a Args) (uint64, error) {
	first, last, flags := a.Uint(0), a.Uint(1), a.Uint(2)
	if flags&^(unix.CLOSE_RANGE_CLOEXEC|unix.CLOSE_RANGE_UNSHARE) != 0 || first > last {
		return 0, unix.EINVAL
	}
	if flags&unix.CLOSE_RANGE_UNSHARE != 0 && t.FDs().Shared() {
		t.UnshareFDs()
	}
	t.FDs().CloseRange(first, last, flags&unix.CLOSE_RANGE_CLOEXEC != 0)
	return 0, nil
}

func dup(t *task.Task, a Args) (uint64, error) {
	d, err := t.FDs().Get(a.Int(0))
	if err != nil {
		return 0, err
	}
	return install(t, d, false)
}

// dupTo serves dup2 and dup3.
func dupTo(t *task.Task, from, to int, cloexec bool) (uint64, error) {
	limit := t.Rlimit(unix.RLIMIT_NOFILE)
	if to < 0 || uint64(to) >= limit {
		return 0, unix.EBADF
	}
	d, err := t.FDs().Get(from)
	if err != nil {
		return 0, err
	}
	if err := t.FDs().Replace(d, to, cloexec, limit); err != nil {
		d.Unref()
		return 0, err
	}
	return uint64(to), nil
}

func dup2(t *task.Task, a Args) (uint64, error) {
	if a.Int(0) == a.Int(1) {
		d, err := t.FDs().Get(a.Int(0))
		if err != nil {
			return 0, err
		}
		d.Unref()
		return uint64(a.Int(1)), nil
	}
	return dupTo(t, a.Int(0), a.Int(1), false)
}

func dup3(t *task.Task, a Args) (uint64, error) {
	if a.Uint(2)&^unix.O_CLOEXEC != 0 || a.Int(0) == a.Int(1) {
		return 0, unix.EINVAL
	}
	return dupTo(t, a.Int(0), a.Int(1), a.Uint(2)&unix.O_CLOEXEC != 0)
}

// pipes makes all pipes.
var pipes = pipefs.NewFS()

func pipe(t *task.Task, a Args) (uint64, error) { return makePipe(t, a[0], 0) }

func pipe2(t *task.Task, a Args) (uint64, error) { return makePipe(t, a[0], a.Uint(1)) }

func makePipe(t *task.Task, addr uint64, flags uint32) (uint64, error) {
	if flags&^(unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_DIRECT) != 0 {
		return 0, unix.EINVAL
	}
	r, w, err := pipes.Pipe(t, flags&^unix.O_CLOEXEC)
	if err != nil {
		return 0, err
	}
	return 0, installPair(t, r, w, flags&unix.O_CLOEXEC != 0, addr)
}

// installPair makes descriptors for a and b and writes their numbers to user memory, or closes both.
func installPair(t *task.Task, a, b *vfs.Description, cloexec bool, addr uint64) error {
	fa, err := install(t, a, cloexec)
	if err != nil {
		b.Unref()
		return err
	}
	drop := func(fd uint64) {
		if d, err := t.FDs().Remove(int(fd)); err == nil {
			d.Unref()
		}
	}
	fb, err := install(t, b, cloexec)
	if err != nil {
		drop(fa)
		return err
	}
	var out [8]byte
	le.PutUint32(out[:], uint32(fa))
	le.PutUint32(out[4:], uint32(fb))
	if err := t.CopyOutUser(addr, out[:]); err != nil {
		drop(fa)
		drop(fb)
		return err
	}
	return nil
}

func fcntl(t *task.Task, a Args) (uint64, error) {
	fd, cmd, arg := a.Int(0), a.Int(1), a[2]
	d, err := t.FDs().Get(fd)
	if err != nil {
		return 0, err
	}
	defer d.Unref()
	switch cmd {
	case unix.F_DUPFD, unix.F_DUPFD_CLOEXEC:
		d.Ref()
		n, err := t.FDs().Install(d, int(int32(arg)), cmd == unix.F_DUPFD_CLOEXEC, t.Rlimit(unix.RLIMIT_NOFILE))
		if err != nil {
			d.Unref()
		}
		return uint64(n), err
	case unix.F_GETFD:
		cloexec, err := t.FDs().CloseOnExec(fd)
		if cloexec {
			return unix.FD_CLOEXEC, err
		}
		return 0, err
	case unix.F_SETFD:
		return 0, t.FDs().SetCloseOnExec(fd, arg&unix.FD_CLOEXEC != 0)
	case unix.F_GETFL:
		return uint64(d.StatusFlags()), nil
	}
	if d.PathOnly() {
		return 0, unix.EBADF
	}
	switch cmd {
	case unix.F_GETLK, unix.F_SETLK, unix.F_SETLKW, unix.F_OFD_GETLK, unix.F_OFD_SETLK, unix.F_OFD_SETLKW:
		return 0, recordLock(t, d, cmd, arg)
	case unix.F_SETFL:
		err := d.SetStatusFlags(t, uint32(arg))
		if err == nil {
			setAsync(d, fd, uint32(arg))
		}
		return 0, err
	case unix.F_GETOWN:
		return uint64(d.OwnerNumber(t)), nil
	case unix.F_SETOWN:
		return 0, d.SetOwnerNumber(t, int(int32(arg)))
	case fGetSig:
		return uint64(d.EventSignal()), nil
	case fSetSig:
		if arg > task.NumSignals {
			return 0, unix.EINVAL
		}
		d.SetEventSignal(int(arg))
		return 0, nil
	case unix.F_GETOWN_EX, unix.F_SETOWN_EX:
		return 0, ownerEx(t, d, cmd, arg)
	case unix.F_ADD_SEALS, unix.F_GET_SEALS:
		f, ok := d.File().(interface {
			Seals() uint32
			AddSeals(d *vfs.Description, seals uint32) error
		})
		if !ok {
			return 0, unix.EINVAL
		}
		if cmd == unix.F_GET_SEALS {
			return uint64(f.Seals()), nil
		}
		return 0, f.AddSeals(d, uint32(arg))
	case unix.F_GETPIPE_SZ, unix.F_SETPIPE_SZ:
		p, ok := d.File().(interface{ Pipe() *pipefs.Pipe })
		if !ok {
			return 0, unix.EBADF
		}
		if cmd == unix.F_GETPIPE_SZ {
			return uint64(p.Pipe().Capacity()), nil
		}
		n, err := p.Pipe().SetCapacity(t, uint32(arg))
		return uint64(n), err
	}
	return 0, unix.EINVAL
}

func flock(t *task.Task, a Args) (uint64, error) {
	d, err := get(t, a.Int(0))
	if err != nil {
		return 0, err
	}
	defer d.Unref()
	return 0, d.Flock(t, a.Int(1))
}
