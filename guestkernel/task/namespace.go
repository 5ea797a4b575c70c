package task

import (
	"sync"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/ipc"
	"ringo/guestkernel/vfs"
)

// Namespaces are what a task shares with others or has for itself (namespaces(7)). A value is never changed: copy, change, replace. The PID namespace
// that a process was born in is Group.PIDNamespace, the user namespace is in its credentials.
type Namespaces struct {
	UTS     *UTSNamespace
	Mount   *vfs.Namespace
	IPC     *ipcNamespace
	Cgroup  *CgroupNamespace
	PIDKids *PIDNamespace // of the children to come
}

// ipcNamespace is an IPC namespace as /proc/PID/ns shows it.
type ipcNamespace struct {
	*ipc.Namespace
	ino   uint64
	owner *vfs.UserNamespace
}

// hold counts a task that is in the namespaces, drop one that has left. (Task.ipc counts for itself.)
func (n *Namespaces) hold() *Namespaces {
	n.Mount.Hold()
	return n
}

func (n *Namespaces) drop() { n.Mount.Drop() }

// enter puts the task into namespaces that were held for it.
func (t *Task) enter(n *Namespaces) {
	old := t.namespaces.Swap(n)
	if old == nil {
		return
	}
	if old.IPC != n.IPC {
		t.SetIPC(n.IPC.Hold())
	}
	old.drop()
}

// UTSNamespace holds the names of uname(2).
type UTSNamespace struct {
	ino   uint64
	owner *vfs.UserNamespace

	mu           sync.Mutex
	host, domain string
}

// Names are nodename and domainname.
func (u *UTSNamespace) Names() (host, domain string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.host, u.domain
}

// Owner is the user namespace whose CAP_SYS_ADMIN may change the names.
func (u *UTSNamespace) Owner() *vfs.UserNamespace { return u.owner }

// SetHost changes nodename, SetDomain domainname.
func (u *UTSNamespace) SetHost(name string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.host = name
}

// SetDomain changes domainname.
func (u *UTSNamespace) SetDomain(name string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.domain = name
}

func (u *UTSNamespace) copy(owner *vfs.UserNamespace) *UTSNamespace {
	host, domain := u.Names()
	return &UTSNamespace{ino: newNamespaceIno(), owner: owner, host: host, domain: domain}
}

// Inode numbers of the namespaces of boot, as Linux's (proc_ns.h).
const (
	firstIPC    = 0xefffffff
	firstUTS    = 0xeffffffe
	firstUser   = 0xeffffffd
	firstPID    = 0xeffffffc
	firstCgroup = 0xeffffffb
	firstTime   = 0xeffffffa
	firstNet    = 0xeffffff9
)

// namespaceFlags are the kinds that can be made; the rest of CLONE_NEW* is EINVAL, as on a Linux that was built without.
const (
	namespaceFlags = unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWPID | unix.CLONE_NEWUSER | unix.CLONE_NEWCGROUP
	noNamespace    = unix.CLONE_NEWNET | unix.CLONE_NEWTIME
)

// Namespaces answers what the task is in, nil when it has left.
func (t *Task) Namespaces() *Namespaces { return t.namespaces.Load() }

// UTS is the namespace of the task's host name.
func (t *Task) UTS() *UTSNamespace { return t.namespaces.Load().UTS }

// newNamespaces answers, held once more if they are not old ones, the namespaces of a task that shares old but for the kinds in flags, with the place in the file tree that belongs to them: fs is
// moved to the copy of the mounts. Errors: EPERM, ENOSPC, EINVAL.
func (t *Task) newNamespaces(flags uint64, creds *vfs.Creds, fs *vfs.FSContext) (*Namespaces, error) {
	old := t.namespaces.Load()
	if flags&(namespaceFlags|unix.CLONE_NEWIPC)&^unix.CLONE_NEWUSER == 0 {
		return old, nil
	}
	if !creds.HasIn(creds.User, unix.CAP_SYS_ADMIN) {
		return nil, unix.EPERM
	}
	n := *old
	if flags&unix.CLONE_NEWUTS != 0 {
		n.UTS = old.UTS.copy(creds.User)
	}
	if flags&unix.CLONE_NEWIPC != 0 {
		n.IPC = &ipcNamespace{ipc.NewNamespace(t.k.Memory), newNamespaceIno(), creds.User}
	}
	if flags&unix.CLONE_NEWCGROUP != 0 {
		n.Cgroup = t.k.newCgroupNamespace(t, creds.User)
	}
	if flags&unix.CLONE_NEWPID != 0 {
		t.k.mu.Lock()
		kids, err := newPIDNamespaceLocked(old.PIDKids, creds.User)
		t.k.mu.Unlock()
		if err != nil {
			return nil, err
		}
		n.PIDKids = kids
	}
	if flags&unix.CLONE_NEWNS != 0 {
		n.Mount = old.Mount.Copy(newNamespaceIno(), creds.User, fs)
		return &n, nil
	}
	return n.hold(), nil
}

// userSpace answers credentials in a new user namespace: all capabilities there (create_user_ns). Errors: EPERM (a chroot, ids that
// the present namespace has no name for), ENOSPC.
func (t *Task) newUserNamespace() (*vfs.Creds, error) {
	old := t.Creds()
	if t.fs.Root() != t.namespaces.Load().Mount.Root() {
		return nil, unix.EPERM
	}
	if !old.Mapped() {
		return nil, unix.EPERM
	}
	u, err := vfs.NewUserNamespace(old, newNamespaceIno())
	if err != nil {
		return nil, err
	}
	return old.In(u), nil
}

// Unshare is unshare(2). Errors: EINVAL, EPERM, ENOMEM, ENOSPC.
func (t *Task) Unshare(flags uint64) error {
	const possible = namespaceFlags | unix.CLONE_NEWIPC | noNamespace | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SYSVSEM | unix.CLONE_THREAD | unix.CLONE_SIGHAND | unix.CLONE_VM
	if flags&unix.CLONE_NEWUSER != 0 {
		flags |= unix.CLONE_THREAD | unix.CLONE_FS
	}
	if flags&unix.CLONE_VM != 0 {
		flags |= unix.CLONE_SIGHAND
	}
	if flags&unix.CLONE_SIGHAND != 0 {
		flags |= unix.CLONE_THREAD
	}
	if flags&unix.CLONE_NEWNS != 0 {
		flags |= unix.CLONE_FS
	}
	switch {
	case flags&^possible != 0, flags&noNamespace != 0:
		return unix.EINVAL
	case flags&unix.CLONE_THREAD != 0 && !t.alone(), flags&unix.CLONE_VM != 0 && t.space.Users() > 1:
		return unix.EINVAL
	}
	creds := t.Creds()
	if flags&unix.CLONE_NEWUSER != 0 {
		c, err := t.newUserNamespace()
		if err != nil {
			return err
		}
		creds = c
	}
	fs := t.fs
	if flags&unix.CLONE_FS != 0 && fs.Shared() {
		fs = fs.Fork()
	}
	n, err := t.newNamespaces(flags, creds, fs)
	if err != nil {
		if fs != t.fs {
			fs.Leave()
		}
		return err
	}
	if fs != t.fs {
		t.fs.Leave()
		t.fs = fs
	}
	if flags&unix.CLONE_FILES != 0 {
		t.UnshareFDs()
	}
	t.SetCreds(creds)
	if old := t.namespaces.Load(); n != old {
		t.enter(n)
		if n.IPC != old.IPC {
			n.IPC.Release() // the maker's hold: the task has its own
		}
	}
	if flags&unix.CLONE_SYSVSEM != 0 {
		t.UnshareSemUndo()
	}
	t.publishView()
	return nil
}

// alone says whether the task is the only thread of its process.
func (t *Task) alone() bool {
	t.k.mu.Lock()
	defer t.k.mu.Unlock()
	return len(t.group.tasks) == 1
}

// Namespace is one of them, as /proc/PID/ns shows it and setns(2) takes it.
type Namespace struct {
	Kind string // "uts", as the link is called in user space
	Flag uint64 // CLONE_NEW*
	Ino  uint64
	// Owner is the user namespace that governs it.
	Owner  *vfs.UserNamespace
	object any
	parent any
}

// NamespaceKinds are the names in /proc/PID/ns.
var NamespaceKinds = []string{"cgroup", "ipc", "mnt", "net", "pid", "pid_for_children", "time", "time_for_children", "user", "uts"}

// Namespace answers the one behind /proc/PID/ns/name, false when the task has left it.
func (t *Task) Namespace(name string) (Namespace, bool) {
	n := t.namespaces.Load()
	if n == nil {
		return Namespace{}, false
	}
	switch name {
	case "uts":
		return Namespace{"uts", unix.CLONE_NEWUTS, n.UTS.ino, n.UTS.owner, n.UTS, nil}, true
	case "mnt":
		return Namespace{"mnt", unix.CLONE_NEWNS, n.Mount.Ino, n.Mount.Owner, n.Mount, nil}, true
	case "ipc":
		s := n.IPC
		return Namespace{"ipc", unix.CLONE_NEWIPC, s.ino, s.owner, s, nil}, true
	case "cgroup":
		return Namespace{"cgroup", unix.CLONE_NEWCGROUP, n.Cgroup.ino, n.Cgroup.owner, n.Cgroup, nil}, true
	case "pid":
		return pidNamespace(t.group.pidns), true
	case "pid_for_children":
		return pidNamespace(n.PIDKids), true
	case "user":
		return userNamespace(t.Creds().User), true
	case "net":
		return Namespace{"net", unix.CLONE_NEWNET, firstNet, nil, nil, nil}, true
	case "time", "time_for_children":
		return Namespace{"time", unix.CLONE_NEWTIME, firstTime, nil, nil, nil}, true
	}
	return Namespace{}, false
}

func pidNamespace(ns *PIDNamespace) Namespace {
	s := Namespace{"pid", unix.CLONE_NEWPID, ns.ino, ns.owner, ns, nil}
	if ns.parent != nil {
		s.parent = ns.parent
	}
	return s
}

func userNamespace(u *vfs.UserNamespace) Namespace {
	if u == nil {
		return Namespace{"user", unix.CLONE_NEWUSER, firstUser, nil, u, nil}
	}
	return Namespace{"user", unix.CLONE_NEWUSER, u.Ino, u.Parent, u, u.Parent}
}

// Up answers the namespace above (NS_GET_PARENT). Errors: EINVAL for kinds without a hierarchy, EPERM when the caller may not see it.
func (s Namespace) Up(t *Task) (Namespace, error) {
	switch o := s.object.(type) {
	case *PIDNamespace:
		if o.parent == nil || !o.parent.within(t.group.pidns) {
			return Namespace{}, unix.EPERM
		}
		return pidNamespace(o.parent), nil
	case *vfs.UserNamespace:
		if o == nil || !o.Parent.Within(t.Creds().User) {
			return Namespace{}, unix.EPERM
		}
		return userNamespace(o.Parent), nil
	}
	return Namespace{}, unix.EINVAL
}

// UserNamespace answers the user namespace that governs s (NS_GET_USERNS). The error is EPERM.
func (s Namespace) UserNamespace(t *Task) (Namespace, error) {
	owner := s.Owner
	if u, ok := s.object.(*vfs.UserNamespace); ok {
		if u == nil {
			return Namespace{}, unix.EPERM
		}
		owner = u.Parent
	}
	if !owner.Within(t.Creds().User) {
		return Namespace{}, unix.EPERM
	}
	return userNamespace(owner), nil
}

// OwnerUID is NS_GET_OWNER_UID: the user who made a user namespace, as the caller names him. The error is EINVAL for other kinds.
func (s Namespace) OwnerUID(t *Task) (uint32, error) {
	u, ok := s.object.(*vfs.UserNamespace)
	if !ok {
		return 0, unix.EINVAL
	}
	if u == nil {
		return 0, nil
	}
	return t.Creds().User.UID(u.OwnerUID), nil
}

// SetNamespaces is setns(2): the task enters all the given namespaces or none. Errors: EINVAL, EPERM.
func (t *Task) SetNamespaces(list []Namespace) error {
	n, creds, fs := *t.namespaces.Load(), t.Creds(), t.fs
	enter := func(owner *vfs.UserNamespace, also ...int) error {
		for _, c := range append(also, unix.CAP_SYS_ADMIN) {
			if !creds.HasIn(creds.User, c) {
				return unix.EPERM
			}
		}
		if !creds.HasIn(owner, unix.CAP_SYS_ADMIN) {
			return unix.EPERM
		}
		return nil
	}
	var mounts *vfs.Namespace
	// The user namespace first: its capabilities open the others.
	for _, s := range list {
		u, ok := s.object.(*vfs.UserNamespace)
		if !ok || s.Flag != unix.CLONE_NEWUSER {
			continue
		}
		switch {
		case u == creds.User, !t.alone(), fs.Shared():
			return unix.EINVAL
		case !creds.HasIn(u, unix.CAP_SYS_ADMIN):
			return unix.EPERM
		}
		creds = creds.In(u)
	}
	for _, s := range list {
		var err error
		switch o := s.object.(type) {
		case *UTSNamespace:
			n.UTS, err = o, enter(o.owner)
		case *ipcNamespace:
			n.IPC, err = o, enter(o.owner)
		case *CgroupNamespace:
			n.Cgroup, err = o, enter(o.owner)
		case *PIDNamespace:
			if err = enter(o.owner); err == nil && !o.within(t.group.pidns) {
				err = unix.EINVAL
			}
			n.PIDKids = o
		case *vfs.Namespace:
			if err = enter(o.Owner, unix.CAP_SYS_CHROOT); err == nil && fs.Shared() {
				err = unix.EINVAL
			}
			mounts = o
		case *vfs.UserNamespace:
		case nil: // net and time: there is one only
			err = enter(nil)
		}
		if err != nil {
			return err
		}
	}
	if mounts != nil {
		n.Mount = mounts
		fs.SetRoot(mounts.Root())
		fs.SetCwd(mounts.Root())
	}
	t.SetCreds(creds)
	t.enter(n.hold())
	t.publishView()
	return nil
}

// MoveRoots moves every task whose root or working directory is old to its replacement (chroot_fs_refs).
func (k *Kernel) MoveRoots(old, now vfs.Path) {
	k.mu.Lock()
	var places []*vfs.FSContext
	for _, t := range k.tasks {
		if v := t.View(); v != nil {
			places = append(places, v.FS)
		}
	}
	k.mu.Unlock()
	for _, fs := range places {
		fs.Move(func(p vfs.Path) vfs.Path {
			if p == old {
				return now
			}
			return p
		})
	}
}
