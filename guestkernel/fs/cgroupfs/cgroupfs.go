// Package cgroupfs is the file system of control groups, version 2 (cgroups(7)): a directory is a group.
package cgroupfs

import (
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/fs/kernfs"
	"ringo/guestkernel/task"
	"ringo/guestkernel/vfs"
)

// FS is the hierarchy as one cgroup namespace mounts it: all its mounts share the nodes.
type FS struct {
	nodes *nodes
	root  *task.Cgroup
	sb    *vfs.Superblock
}

// nodes are the directories of groups, which keep their owners, modes and watches.
type nodes struct {
	k   *task.Kernel
	dev uint64

	mu     sync.Mutex
	dirs   map[*task.Cgroup]*dir
	mounts map[*task.Cgroup]*FS // by root
}

// Register makes "cgroup2" known to mount(2) and answers the superblock of the whole hierarchy.
func Register(k *task.Kernel) *vfs.Superblock {
	n := &nodes{k: k, dev: vfs.NewDev(), dirs: make(map[*task.Cgroup]*dir), mounts: make(map[*task.Cgroup]*FS)}
	vfs.RegisterType(vfs.Type{Name: "cgroup2", NoDev: true, User: true, New: func(c vfs.Caller, _, data string) (*vfs.Superblock, error) {
		for _, o := range strings.Split(data, ",") {
			switch o {
			case "", "nsdelegate", "memory_localevents", "memory_recursiveprot", "favordynmods":
			default:
				return nil, unix.EINVAL
			}
		}
		root := k.RootCgroup()
		if t, ok := c.(*task.Task); ok {
			root = t.Namespaces().Cgroup.Root()
		}
		return n.mount(root), nil
	}})
	return n.mount(k.RootCgroup())
}

func (n *nodes) mount(root *task.Cgroup) *vfs.Superblock {
	d := n.dir(root)
	n.mu.Lock()
	defer n.mu.Unlock()
	fs := n.mounts[root]
	if fs == nil {
		fs = &FS{nodes: n, root: root}
		fs.sb = vfs.NewSuperblock(rooted{fs, d}, n.dev, true)
		n.mounts[root] = fs
	}
	return fs.sb
}

// rooted is the filesystem with its root directory.
type rooted struct {
	*FS
	d *dir
}

// Root implements vfs.Filesystem.
func (r rooted) Root() vfs.Inode { return r.d }

// Type implements vfs.Filesystem.
func (*FS) Type() string { return "cgroup2" }

// Statfs implements vfs.Filesystem.
func (*FS) Statfs() vfs.Statfs {
	return vfs.Statfs{Magic: unix.CGROUP2_SUPER_MAGIC, Bsize: vfs.PageSize}
}

// dir is the directory of a group.
type dir struct {
	kernfs.Dir
	n     *nodes
	group *task.Cgroup
	files []file
}

// file is an entry of a directory.
type file struct {
	name string
	node *kernfs.Text
	pids bool // there only where the group has the pids controller
}

// Cgroup is the group of the directory: clone3(2) takes an open one.
func (d *dir) Cgroup() *task.Cgroup { return d.group }

// inoSpan is how many inode numbers a group has.
const inoSpan = 64

// dir answers the directory of a group, making it if there is none.
func (n *nodes) dir(g *task.Cgroup) *dir {
	n.mu.Lock()
	defer n.mu.Unlock()
	if d := n.dirs[g]; d != nil {
		return d
	}
	d := &dir{n: n, group: g}
	d.Init(n.dev, g.ID()*inoSpan, unix.S_IFDIR|0o755, 0, 0)
	d.Entries, d.Find = d.list, d.find
	d.Living = func() bool { return !g.Dead() }
	d.MakeDir, d.RemoveDir = d.mkdir, d.rmdir
	d.files = d.makeFiles()
	g.SetModified(func(name string) {
		for _, f := range d.files {
			if f.name == name {
				vfs.Modified(f.node)
			}
		}
	})
	n.dirs[g] = d
	return d
}

func (d *dir) list() []kernfs.Entry {
	var list []kernfs.Entry
	limited := d.group.Limited()
	for _, f := range d.files {
		if !f.pids || limited {
			list = append(list, kernfs.Entry{Name: f.name, Kind: unix.S_IFREG, Make: func() vfs.Inode { return f.node }})
		}
	}
	for _, name := range d.group.Children() {
		list = append(list, kernfs.Entry{Name: name, Kind: unix.S_IFDIR, Make: func() vfs.Inode {
			if g := d.group.Child(name); g != nil {
				return d.n.dir(g)
			}
			return d // it has just gone: a number is all that is asked for
		}})
	}
	return list
}

func (d *dir) find(name string) vfs.Inode {
	if g := d.group.Child(name); g != nil {
		return d.n.dir(g)
	}
	for _, f := range d.files {
		if f.name == name && (!f.pids || d.group.Limited()) {
			return f.node
		}
	}
	return nil
}

// mkdir makes a group, owned by who made it.
func (d *dir) mkdir(c vfs.Caller, name string) (vfs.Inode, error) {
	if strings.Contains(name, "\n") {
		return nil, unix.EINVAL
	}
	g, err := d.group.Make(name)
	if err != nil {
		return nil, err
	}
	child := d.n.dir(g)
	creds := c.Creds()
	child.SetOwner(0o755, creds.FSUID, creds.FSGID)
	for _, f := range child.files {
		f.node.SetOwner(f.node.Mode(), creds.FSUID, creds.FSGID)
	}
	d.AddLinks(1)
	return child, nil
}

func (d *dir) rmdir(name string) error {
	g := d.group.Child(name)
	if g == nil {
		return unix.ENOENT
	}
	if err := g.Remove(); err != nil {
		return err
	}
	d.AddLinks(-1)
	d.n.mu.Lock()
	child := d.n.dirs[g]
	delete(d.n.dirs, g)
	d.n.mu.Unlock()
	if child == nil {
		return nil
	}
	for _, f := range child.files {
		vfs.Discard(f.node)
	}
	return nil
}
