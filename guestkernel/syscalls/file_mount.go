package syscalls

import (
	"golang.org/x/sys/unix"

	"ringo/guestkernel/task"
	"ringo/guestkernel/vfs"
)

func init() {
	register(map[string]Handler{"mount": mount, "umount2": umount2})
}

// mountFlags are the flags that stay with a mount.
const mountFlags = unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_NOATIME | unix.MS_NODIRATIME | unix.MS_RELATIME | unix.MS_STRICTATIME

// propagation are the flags that change how mounts spread between namespaces.
const propagation = unix.MS_SHARED | unix.MS_PRIVATE | unix.MS_SLAVE | unix.MS_UNBINDABLE

func mount(t *task.Task, a Args) (uint64, error) {
	optional := func(addr uint64) (string, error) {
		if addr == 0 {
			return "", nil
		}
		return t.CopyInPath(addr)
	}
	kind, err := optional(a[2])
	if err != nil {
		return 0, err
	}
	source, err := optional(a[0])
	if err != nil {
		return 0, err
	}
	flags := uintptr(a[3])
	if flags&unix.MS_MGC_MSK == unix.MS_MGC_VAL {
		flags &^= unix.MS_MGC_MSK
	}
	data := ""
	if a[4] != 0 {
		if data, err = t.Space().CopyInString(a[4], vfs.PageSize-1); err != nil {
			return 0, err
		}
	}
	target, err := lookup(t, unix.AT_FDCWD, a[1], vfs.Follow)
	if err != nil {
		return 0, err
	}
	if !t.Creds().Effective.Has(unix.CAP_SYS_ADMIN) {
		return 0, unix.EPERM
	}
	switch {
	case flags&unix.MS_REMOUNT != 0:
		if target != target.Mount.Root() {
			return 0, unix.EINVAL
		}
		target.Mount.SetFlags(flags & mountFlags)
		return 0, nil
	case flags&unix.MS_BIND != 0:
		from, err := vfs.Lookup(t, vfs.AtCwd(t), source, vfs.Follow)
		if err != nil {
			return 0, err
		}
		_, err = vfs.Bind(from, target)
		return 0, err
	case flags&propagation != 0:
		// There is one namespace, so every mount is private and there is nobody to be slave or unbindable to.
		if flags&(propagation|unix.MS_REC|unix.MS_SILENT) != flags || flags&unix.MS_SHARED != 0 || target != target.Mount.Root() {
			return 0, unix.EINVAL
		}
		return 0, nil
	case flags&unix.MS_MOVE != 0:
		return 0, unix.EINVAL
	}
	if kind == "" {
		return 0, unix.EINVAL
	}
	ft, err := vfs.FindType(kind)
	if err != nil {
		return 0, err
	}
	sb, err := ft.New(t, source, data)
	if err != nil {
		return 0, err
	}
	if source == "" {
		source = "none"
	}
	_, err = vfs.MountAt(sb, source, flags&mountFlags, target)
	return 0, err
}

func umount2(t *task.Task, a Args) (uint64, error) {
	flags := a.Uint(1)
	if flags&^(unix.MNT_FORCE|unix.MNT_DETACH|unix.MNT_EXPIRE|unix.UMOUNT_NOFOLLOW) != 0 {
		return 0, unix.EINVAL
	}
	how := vfs.Follow
	if flags&unix.UMOUNT_NOFOLLOW != 0 {
		how = 0
	}
	p, err := lookup(t, unix.AT_FDCWD, a[0], how)
	if err != nil {
		return 0, err
	}
	if p != p.Mount.Root() || flags&unix.MNT_EXPIRE != 0 {
		return 0, unix.EINVAL
	}
	if !t.Creds().Effective.Has(unix.CAP_SYS_ADMIN) {
		return 0, unix.EPERM
	}
	return 0, p.Mount.Unmount(flags&unix.MNT_DETACH != 0)
}
