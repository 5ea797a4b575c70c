package syscalls

import (
	"golang.org/x/sys/unix"

	"ringo/guestkernel/task"
	"ringo/guestkernel/vfs"
)

func init() {
	follow, stay := byPath(vfs.Follow), byPath(0)
	register(map[string]Handler{
		"getxattr": xattr(follow, getXattr), "lgetxattr": xattr(stay, getXattr), "fgetxattr": xattr(byFD, getXattr),
		"setxattr": xattr(follow, setXattr), "lsetxattr": xattr(stay, setXattr), "fsetxattr": xattr(byFD, setXattr),
		"listxattr": xattr(follow, listXattr), "llistxattr": xattr(stay, listXattr), "flistxattr": xattr(byFD, listXattr),
		"removexattr": xattr(follow, removeXattr), "lremovexattr": xattr(stay, removeXattr), "fremovexattr": xattr(byFD, removeXattr),
	})
}

// xattr makes a handler out of how the object is named (argument 0) and what is done to it.
func xattr(find func(*task.Task, uint64) (vfs.Path, error), op func(*task.Task, vfs.Path, Args) (uint64, error)) Handler {
	return func(t *task.Task, a Args) (uint64, error) {
		p, err := find(t, a[0])
		if err != nil {
			return 0, err
		}
		return op(t, p, a)
	}
}

func byPath(flags int) func(*task.Task, uint64) (vfs.Path, error) {
	return func(t *task.Task, addr uint64) (vfs.Path, error) { return lookup(t, unix.AT_FDCWD, addr, flags) }
}

func byFD(t *task.Task, fd uint64) (vfs.Path, error) {
	d, err := get(t, int(int32(fd)))
	if err != nil {
		return vfs.Path{}, err
	}
	defer d.Unref()
	return d.Path(), nil
}

// xattrName reads an attribute's name: ERANGE when it is too long.
func xattrName(t *task.Task, addr uint64) (string, error) {
	name, err := t.Space().CopyInString(addr, 256)
	if err == unix.ENAMETOOLONG {
		err = unix.ERANGE
	}
	return name, err
}

// answer copies data to a buffer of size bytes; size 0 asks only for the length.
func answer(t *task.Task, addr, size uint64, data []byte) (uint64, error) {
	if size == 0 {
		return uint64(len(data)), nil
	}
	if uint64(len(data)) > size {
		return 0, unix.ERANGE
	}
	return uint64(len(data)), t.CopyOutUser(addr, data)
}

func getXattr(t *task.Task, p vfs.Path, a Args) (uint64, error) {
	name, err := xattrName(t, a[1])
	if err != nil {
		return 0, err
	}
	v, err := vfs.GetXattr(t, p, name)
	if err != nil {
		return 0, err
	}
	return answer(t, a[2], a[3], v)
}

func setXattr(t *task.Task, p vfs.Path, a Args) (uint64, error) {
	flags := a.Uint(4)
	if flags&^(unix.XATTR_CREATE|unix.XATTR_REPLACE) != 0 {
		return 0, unix.EINVAL
	}
	name, err := xattrName(t, a[1])
	if err != nil {
		return 0, err
	}
	if a[3] > 65536 {
		return 0, unix.E2BIG
	}
	value := make([]byte, a[3])
	if err := t.CopyInUser(a[2], value); err != nil {
		return 0, err
	}
	return 0, vfs.SetXattr(t, p, name, value, int(flags))
}

func listXattr(t *task.Task, p vfs.Path, a Args) (uint64, error) {
	names, err := vfs.ListXattr(t, p)
	if err != nil {
		return 0, err
	}
	var b []byte
	for _, n := range names {
		b = append(append(b, n...), 0)
	}
	return answer(t, a[1], a[2], b)
}

func removeXattr(t *task.Task, p vfs.Path, a Args) (uint64, error) {
	name, err := xattrName(t, a[1])
	if err != nil {
		return 0, err
	}
	return 0, vfs.RemoveXattr(t, p, name)
}
