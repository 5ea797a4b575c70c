package syscalls

import (
	"golang.org/x/sys/unix"

	"ringo/guestkernel/task"
	"ringo/guestkernel/vfs"
)

func init() {
	register(map[string]Handler{
		"unshare":    func(t *task.Task, a Args) (uint64, error) { return 0, t.Unshare(a[0]) },
		"setns":      sysSetns,
		"pivot_root": sysPivotRoot,
	})
}

// sysSetns enters the namespace of a descriptor of /proc/PID/ns, or those of a pidfd's process that the flags name.
func sysSetns(t *task.Task, a Args) (uint64, error) {
	d, err := get(t, a.Int(0))
	if err != nil {
		return 0, err
	}
	defer d.Unref()
	kinds := uint64(a.Uint(1))
	if p, err := task.PIDFDOf(d); err == nil {
		list, err := namespacesOf(t, p, kinds)
		if err != nil {
			return 0, err
		}
		return 0, t.SetNamespaces(list)
	}
	ns, err := task.NamespaceOf(d)
	if err != nil {
		return 0, err
	}
	if kinds != 0 && kinds != ns.Flag {
		return 0, unix.EINVAL
	}
	return 0, t.SetNamespaces([]task.Namespace{ns})
}

// namespacesOf lists the namespaces of the process behind a pidfd. Errors: EINVAL, ESRCH, EPERM.
func namespacesOf(t *task.Task, p *task.PIDFD, kinds uint64) (list []task.Namespace, err error) {
	const all = unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWPID | unix.CLONE_NEWUSER | unix.CLONE_NEWCGROUP | unix.CLONE_NEWNET | unix.CLONE_NEWTIME
	if kinds == 0 || kinds&^all != 0 {
		return nil, unix.EINVAL
	}
	o := p.Task()
	if o == nil {
		return nil, unix.ESRCH
	}
	if !t.MayTrace(o) {
		return nil, unix.EPERM
	}
	for _, kind := range task.NamespaceKinds {
		if kind == "pid_for_children" || kind == "time_for_children" {
			continue
		}
		ns, ok := o.Namespace(kind)
		if !ok {
			return nil, unix.ESRCH
		}
		if kinds&ns.Flag != 0 {
			list = append(list, ns)
		}
	}
	return list, nil
}

func sysPivotRoot(t *task.Task, a Args) (uint64, error) {
	if !mayMount(t) {
		return 0, unix.EPERM
	}
	newRoot, err := lookup(t, unix.AT_FDCWD, a[0], vfs.Follow|vfs.WantDirectory)
	if err != nil {
		return 0, err
	}
	put, err := lookup(t, unix.AT_FDCWD, a[1], vfs.Follow|vfs.WantDirectory)
	if err != nil {
		return 0, err
	}
	old, err := vfs.PivotRoot(t, newRoot, put)
	if err != nil {
		return 0, err
	}
	t.Kernel().MoveRoots(old, newRoot)
	return 0, nil
}

// mayMount says whether the caller may change the mounts of its namespace.
func mayMount(t *task.Task) bool {
	return t.Creds().HasIn(t.Namespaces().Mount.Owner, unix.CAP_SYS_ADMIN)
}
