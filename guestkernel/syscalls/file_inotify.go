package syscalls

import (
	"golang.org/x/sys/unix"

	"ringo/guestkernel/fs/eventfs"
	"ringo/guestkernel/task"
	"ringo/guestkernel/vfs"
)

func init() {
	register(map[string]Handler{
		"inotify_init": func(t *task.Task, _ Args) (uint64, error) { return inotifyInit1(t, Args{}) }, "inotify_init1": inotifyInit1,
		"inotify_add_watch": inotifyAddWatch, "inotify_rm_watch": inotifyRmWatch,
	})
}

func inotifyInit1(t *task.Task, a Args) (uint64, error) {
	if a.Uint(0)&^(unix.IN_CLOEXEC|unix.IN_NONBLOCK) != 0 {
		return 0, unix.EINVAL
	}
	d, err := eventfs.NewInotify(t, a.Uint(0)&unix.IN_NONBLOCK)
	if err != nil {
		return 0, err
	}
	return install(t, d, a.Uint(0)&unix.IN_CLOEXEC != 0)
}

func inotifyAddWatch(t *task.Task, a Args) (uint64, error) {
	const flags = unix.IN_ONLYDIR | unix.IN_DONT_FOLLOW | unix.IN_EXCL_UNLINK | unix.IN_MASK_CREATE | unix.IN_MASK_ADD | unix.IN_ISDIR | unix.IN_ONESHOT
	mask := a.Uint(2)
	if mask&(unix.IN_ALL_EVENTS|flags) == 0 || mask&(unix.IN_MASK_ADD|unix.IN_MASK_CREATE) == unix.IN_MASK_ADD|unix.IN_MASK_CREATE {
		return 0, unix.EINVAL
	}
	d, err := get(t, a.Int(0))
	if err != nil {
		return 0, err
	}
	defer d.Unref()
	n, err := eventfs.InotifyOf(d)
	if err != nil {
		return 0, err
	}
	how := vfs.Follow
	if mask&unix.IN_DONT_FOLLOW != 0 {
		how = 0
	}
	if mask&unix.IN_ONLYDIR != 0 {
		how |= vfs.WantDirectory
	}
	p, err := lookup(t, unix.AT_FDCWD, a[1], how)
	if err != nil {
		return 0, err
	}
	if err := t.Creds().MayAccess(p.Inode().Attributes(), vfs.MayRead); err != nil {
		return 0, err
	}
	wd, err := n.Add(p.Inode(), mask)
	return uint64(wd), err
}

func inotifyRmWatch(t *task.Task, a Args) (uint64, error) {
	d, err := get(t, a.Int(0))
	if err != nil {
		return 0, err
	}
	defer d.Unref()
	n, err := eventfs.InotifyOf(d)
	if err != nil {
		return 0, err
	}
	return 0, n.Remove(a.Int(1))
}
