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
	target = target.Top()
	if !mayMount(t) {
		return 0, unix.EPERM
	}
	if flags&unix.MS_NOUSER != 0 {
		return 0, unix.EINVAL
	}
	switch {
	case flags&unix.MS_REMOUNT != 0:
		return 0, remount(t, target, flags, data)
	case flags&unix.MS_BIND != 0:
		if source == "" {
			return 0, unix.EINVAL
		}
		from, err := vfs.Lookup(t, vfs.AtCwd(t), source, vfs.Follow)
		if err != nil {
			return 0, err
		}
		_, err = vfs.Bind(from.Top(), target, flags&unix.MS_REC != 0)
		return 0, err
	case flags&propagation != 0:
		kind := flags & propagation
		if flags&(propagation|unix.MS_REC|unix.MS_SILENT) != flags || kind&(kind-1) != 0 || target != target.Mount.Root() {
			return 0, unix.EINVAL
		}
		target.Mount.SetPropagation(kind, flags&unix.MS_REC != 0)
		return 0, nil
	case flags&unix.MS_MOVE != 0:
		if source == "" {
			return 0, unix.EINVAL
		}
		from, err := vfs.Lookup(t, vfs.AtCwd(t), source, vfs.Follow)
		if err != nil {
			return 0, err
		}
		return 0, vfs.Move(from.Top(), target)
	}
	if kind == "" {
		return 0, unix.EINVAL
	}
	ft, err := vfs.FindType(kind)
	if err != nil {
		return 0, err
	}
	if t.Creds().User != nil && !ft.User {
		return 0, unix.EPERM
	}
	if !ft.NoDev && source == "" {
		return 0, unix.EINVAL
	}
	sb, err := ft.New(t, source, data)
	if err != nil {
		return 0, err
	}
	if source == "" {
		source = "none"
	}
	keep := flags & mountFlags
	if keep&(unix.MS_NOATIME|unix.MS_STRICTATIME) == 0 {
		keep |= unix.MS_RELATIME
	}
	if t.Creds().User != nil {
		keep |= unix.MS_NODEV
	}
	sb.Begin(flags&unix.MS_RDONLY != 0)
	_, err = vfs.MountAt(sb, source, keep, target)
	return 0, err
}

// remount is MS_REMOUNT: of the mount's own flags with MS_BIND, else of the filesystem's too. Errors: EINVAL, EBUSY (a file is open for writing), EPERM.
func remount(t *task.Task, target vfs.Path, flags uintptr, data string) error {
	m := target.Mount
	if target != m.Root() || m.Namespace() != t.Namespaces().Mount {
		return unix.EINVAL
	}
	const atime = unix.MS_NOATIME | unix.MS_NODIRATIME | unix.MS_RELATIME | unix.MS_STRICTATIME
	keep := flags & mountFlags
	if flags&atime == 0 {
		keep |= m.Flags() & atime
	} else if keep&(unix.MS_NOATIME|unix.MS_STRICTATIME) == 0 {
		keep |= unix.MS_RELATIME
	}
	if flags&unix.MS_BIND == 0 {
		if !t.Creds().Has(unix.CAP_SYS_ADMIN) {
			return unix.EPERM
		}
		if r, ok := m.Superblock().FS.(interface{ Remount(data string) error }); ok && data != "" {
			if err := r.Remount(data); err != nil {
				return err
			}
		}
		if err := m.Superblock().SetReadOnly(flags&unix.MS_RDONLY != 0); err != nil {
			return err
		}
	}
	return m.SetFlags(keep)
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
	p = p.Top()
	switch {
	case !mayMount(t):
		return 0, unix.EPERM
	case p != p.Mount.Root() || p.Mount.Namespace() != t.Namespaces().Mount:
		return 0, unix.EINVAL
	case flags&unix.MNT_FORCE != 0 && !t.Creds().Has(unix.CAP_SYS_ADMIN):
		return 0, unix.EPERM
	}
	if flags&unix.MNT_EXPIRE != 0 {
		if flags&(unix.MNT_FORCE|unix.MNT_DETACH) != 0 || p.Mount == t.FS().Root().Mount {
			return 0, unix.EINVAL
		}
		return 0, p.Mount.Expire()
	}
	return 0, p.Mount.Unmount(flags&unix.MNT_DETACH != 0)
}
