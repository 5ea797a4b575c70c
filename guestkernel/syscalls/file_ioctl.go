package syscalls

import (
	"golang.org/x/sys/unix"

	"ringo/guestkernel/task"
	"ringo/guestkernel/vfs"
)

func init() {
	register(map[string]Handler{"ioctl": ioctl})
}

// Requests that x/sys/unix does not name (asm-generic/ioctls.h).
const (
	fionbio  = 0x5421
	fioasync = 0x5452
	fioclex  = 0x5451
	fionclex = 0x5450
	fionread = 0x541b
)

// ioctl serves the requests that all files know; the rest is the file's.
func ioctl(t *task.Task, a Args) (uint64, error) {
	fd, cmd, arg := a.Int(0), a.Uint(1), a[2]
	d, err := get(t, fd)
	if err != nil {
		return 0, err
	}
	defer d.Unref()
	switch cmd {
	case fioclex, fionclex:
		return 0, t.FDs().SetCloseOnExec(fd, cmd == fioclex)
	case fionbio, fioasync:
		on, err := vfs.GetInt32(t, arg)
		if err != nil {
			return 0, err
		}
		if cmd == fioasync {
			return 0, d.SetAsync(fd, on != 0)
		}
		flags := d.Flags() &^ unix.O_NONBLOCK
		if on != 0 {
			flags |= unix.O_NONBLOCK
		}
		return 0, d.SetStatusFlags(t, flags)
	case fionread:
		if d.Inode().Attributes().Type() == unix.S_IFREG {
			size, _ := d.Inode().Size()
			pos, err := d.Seek(t, 0, unix.SEEK_CUR)
			if err != nil {
				return 0, err
			}
			return 0, vfs.PutInt32(t, arg, int32(size-pos))
		}
	}
	return d.Ioctl(t, cmd, arg)
}
