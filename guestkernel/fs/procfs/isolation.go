package procfs

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/fs/kernfs"
	"ringo/guestkernel/task"
	"ringo/guestkernel/vfs"
)

// isolation are the entries of /proc/PID that say what the process shares with whom: namespaces, id maps, its control group, mounts.
func (p process) isolation(m *maker, alive func() bool) []entry {
	own := &maker{fs: p.fs, uid: m.uid, gid: m.gid, base: m.base + 2048}
	watch := func(once bool) func(c vfs.Caller) kernfs.News {
		return func(vfs.Caller) kernfs.News {
			if v, err := p.view(); err == nil {
				if ns := v.FS.Root().Mount.Namespace(); ns != nil {
					return kernfs.News{Source: ns, Epoch: ns.Epoch, Once: once}
				}
			}
			return kernfs.News{Source: vfs.StreamFile{}, Epoch: func() uint64 { return 0 }}
		}
	}
	table := func(f func(vfs.Path) []byte) func(vfs.Caller) ([]byte, error) {
		return func(vfs.Caller) ([]byte, error) {
			v, err := p.view()
			if err != nil {
				return nil, unix.EINVAL
			}
			return f(v.FS.Root()), nil
		}
	}
	return []entry{
		m.text("cgroup", 0o444, p.cgroup, nil),
		m.text("gid_map", 0o644, func(c vfs.Caller) ([]byte, error) { return p.idMap(c, true) }, func(c vfs.Caller, data []byte) error { return p.setIDMap(c, data, true) }),
		m.watched("mountinfo", 0o444, table(mountinfo), watch(true)),
		m.watched("mounts", 0o444, table(mounts), watch(true)),
		m.text("mountstats", 0o400, table(mountstats), nil),
		m.dir("ns", 0o511, func() []entry { own.last = 0; return p.namespaces(own) }, nil, alive),
		m.text("setgroups", 0o644, p.setgroups, p.writeSetgroups),
		m.text("uid_map", 0o644, func(c vfs.Caller) ([]byte, error) { return p.idMap(c, false) }, func(c vfs.Caller, data []byte) error { return p.setIDMap(c, data, false) }),
	}
}

// cgroup is /proc/PID/cgroup, as seen from the reader's cgroup namespace.
func (p process) cgroup(c vfs.Caller) ([]byte, error) {
	root := p.fs.Tasks.RootCgroup()
	if t, ok := c.(*task.Task); ok {
		root = t.Namespaces().Cgroup.Root()
	}
	return []byte("0::" + p.group.Cgroup().Path(root) + "\n"), nil
}

// magic is kernfs.Jump under a name that does not hide its method Jump.
type magic = kernfs.Jump

// nsLink is a link of /proc/PID/ns: its text is not a path.
type nsLink struct {
	magic
	text func(c vfs.Caller) (string, error)
}

// Readlink implements vfs.Inode.
func (l *nsLink) Readlink(c vfs.Caller) (string, error) { return l.text(c) }

// Size implements vfs.Inode.
func (l *nsLink) Size() (int64, int64) { return 0, 0 }

var _ vfs.MagicLink = (*nsLink)(nil)

// namespaces is /proc/PID/ns.
func (p process) namespaces(m *maker) []entry {
	var list []entry
	for _, kind := range task.NamespaceKinds {
		find := func(c vfs.Caller) (task.Namespace, error) {
			if err := p.mayLook(c); err != nil {
				return task.Namespace{}, err
			}
			if p.task != nil {
				if ns, ok := p.task.Namespace(kind); ok {
					return ns, nil
				}
			}
			return task.Namespace{}, unix.ENOENT
		}
		l := &nsLink{text: func(c vfs.Caller) (string, error) {
			ns, err := find(c)
			return fmt.Sprintf("%s:[%d]", ns.Kind, ns.Ino), err
		}}
		l.To = func(c vfs.Caller) (vfs.Path, error) {
			ns, err := find(c)
			if err != nil {
				return vfs.Path{}, err
			}
			return ns.Path(), nil
		}
		m.init(&l.Attrs, unix.S_IFLNK|0o777)
		list = append(list, entry{Name: kind, Kind: unix.S_IFLNK, Make: func() vfs.Inode { return l }})
	}
	return list
}

// user is the process's user namespace.
func (p process) user() *vfs.UserNamespace {
	if p.task == nil {
		return nil
	}
	return p.task.Creds().User
}

// idMap is /proc/PID/uid_map: the outside as the reader's namespace calls it, or the parent's for a reader inside.
func (p process) idMap(c vfs.Caller, group bool) ([]byte, error) {
	u := p.user()
	seen := c.Creds().User
	if u != nil && seen == u {
		seen = u.Parent
	}
	name := seen.UID
	if group {
		name = seen.GID
	}
	var b []byte
	for _, e := range u.Map(group) {
		b = fmt.Appendf(b, "%10d %10d %10d\n", e.Inside, name(e.Outside), e.Count)
	}
	return b, nil
}

// maxExtents is how many lines a map may have.
const maxExtents = 340

// setIDMap is a write of the whole map, once (user_namespaces(7)). Who has not got CAP_SETUID (CAP_SETGID) in the namespace above may map its own
// effective id only, and its group only once setgroups(2) is off. Errors: EINVAL, EPERM.
func (p process) setIDMap(c vfs.Caller, data []byte, group bool) error {
	u, creds := p.user(), c.Creds()
	if u == nil {
		return unix.EPERM
	}
	capability := unix.CAP_SETUID
	if group {
		capability = unix.CAP_SETGID
	}
	if len(u.Map(group)) > 0 {
		return unix.EPERM
	}
	if !creds.HasIn(u, unix.CAP_SYS_ADMIN) {
		return unix.EPERM
	}
	if creds.User != u && creds.User != u.Parent {
		return unix.EPERM
	}
	list, err := parseMap(data)
	if err != nil {
		return err
	}
	up := u.Parent
	toKernel, mine := up.KernelUID, creds.EUID
	if group {
		toKernel, mine = up.KernelGID, creds.EGID
	}
	single := len(list) == 1 && list[0].Count == 1 && toKernel(list[0].Outside) == mine && creds.EUID == u.OwnerUID && (!group || u.SetgroupsDenied())
	if !single && !(creds.HasIn(up, capability) && creds.HasIn(u, capability)) {
		return unix.EPERM
	}
	for i := range list {
		e := &list[i]
		first := toKernel(e.Outside)
		if first == vfs.InvalidID || toKernel(e.Outside+e.Count-1) != first+e.Count-1 {
			return unix.EPERM
		}
		e.Outside = first
	}
	return u.SetMap(group, list)
}

// parseMap reads lines of three numbers: inside, outside, count. The error is EINVAL.
func parseMap(data []byte) (list []vfs.IDExtent, err error) {
	if len(data) >= vfs.PageSize {
		return nil, unix.EINVAL
	}
	for _, line := range strings.Split(strings.TrimRight(string(data), "\n"), "\n") {
		f := strings.Fields(line)
		if len(f) != 3 || len(list) >= maxExtents {
			return nil, unix.EINVAL
		}
		var n [3]uint32
		for i := range n {
			v, err := strconv.ParseUint(f[i], 10, 32)
			if err != nil {
				return nil, unix.EINVAL
			}
			n[i] = uint32(v)
		}
		e := vfs.IDExtent{Inside: n[0], Outside: n[1], Count: n[2]}
		if e.Count == 0 || e.Inside == vfs.InvalidID || e.Outside == vfs.InvalidID || e.Inside+e.Count < e.Inside || e.Outside+e.Count < e.Outside {
			return nil, unix.EINVAL
		}
		for _, o := range list {
			if e.Inside < o.Inside+o.Count && o.Inside < e.Inside+e.Count || e.Outside < o.Outside+o.Count && o.Outside < e.Outside+e.Count {
				return nil, unix.EINVAL
			}
		}
		list = append(list, e)
	}
	return list, nil
}

// setgroups is /proc/PID/setgroups.
func (p process) setgroups(vfs.Caller) ([]byte, error) {
	if p.user().SetgroupsDenied() {
		return []byte("deny\n"), nil
	}
	return []byte("allow\n"), nil
}

func (p process) writeSetgroups(c vfs.Caller, data []byte) error {
	u := p.user()
	if !c.Creds().HasIn(u, unix.CAP_SYS_ADMIN) {
		return unix.EPERM
	}
	switch string(data) {
	case "deny":
		return u.DenySetgroups()
	case "allow":
		if u.SetgroupsDenied() {
			return unix.EPERM
		}
		return nil
	}
	return unix.EINVAL
}

// mountstats is /proc/PID/mountstats.
func mountstats(root vfs.Path) []byte {
	var b bytes.Buffer
	visible(root, func(m *vfs.Mount, place string) {
		source := m.Source
		if source == "" {
			source = "none"
		}
		fmt.Fprintf(&b, "device %s mounted on %s with fstype %s\n", mangle(source), mangle(place), m.Superblock().FS.Type())
	})
	return b.Bytes()
}
