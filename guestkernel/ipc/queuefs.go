package ipc

import (
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/vfs"
)

// QueueLimits are the numbers of /proc/sys/fs/mqueue.
type QueueLimits struct {
	Queues                              int64
	MaxMessages, MessageSize            int64 // for the unprivileged
	DefaultMessages, DefaultMessageSize int64 // of a queue that is made without attributes
}

// queueFS is the mqueue filesystem of a namespace: the place where queues have their names, mounted or not.
type queueFS struct {
	sb    *vfs.Superblock
	mount *vfs.Mount
	dev   uint64
	root  *queueDirectory

	mu      sync.Mutex
	limits  QueueLimits
	lastIno uint64
	queues  int64
	bytes   map[uint32]uint64     // that the queues of a user count
	asked   map[Caller]*QueueAttr // attributes for the queue that a caller is about to make
}

const queueRootIno = 1

func (fs *queueFS) init(*Namespace) {
	fs.dev, fs.lastIno = vfs.NewDev(), queueRootIno
	fs.limits = QueueLimits{Queues: 256, MaxMessages: 10, MessageSize: 8192, DefaultMessages: 10, DefaultMessageSize: 8192}
	fs.bytes, fs.asked = make(map[uint32]uint64), make(map[Caller]*QueueAttr)
	fs.root = &queueDirectory{fs: fs, names: make(map[string]*queueInode)}
	fs.root.Init(fs.dev, queueRootIno, unix.S_IFDIR|unix.S_ISVTX|0o777, 0, 0)
	fs.sb = vfs.NewSuperblock(fs, fs.dev, false)
	fs.mount = vfs.DetachedMount(fs.sb)
}

// Type implements vfs.Filesystem.
func (fs *queueFS) Type() string { return "mqueue" }

// Root implements vfs.Filesystem.
func (fs *queueFS) Root() vfs.Inode { return fs.root }

// Statfs implements vfs.Filesystem.
func (fs *queueFS) Statfs() vfs.Statfs { return vfs.Statfs{Magic: 0x19800202, Bsize: vfs.PageSize} }

// RegisterQueues makes "mqueue" known to mount(2); of answers the caller's namespace.
func RegisterQueues(of func(c vfs.Caller) *Namespace) {
	vfs.RegisterType(vfs.Type{Name: "mqueue", NoDev: true, New: func(c vfs.Caller, _, _ string) (*vfs.Superblock, error) {
		return of(c).mq.sb, nil
	}})
}

// QueueLimits answers the limits as they are.
func (n *Namespace) QueueLimits() QueueLimits {
	n.mq.mu.Lock()
	defer n.mq.mu.Unlock()
	return n.mq.limits
}

// SetQueueLimits changes them with set.
func (n *Namespace) SetQueueLimits(set func(*QueueLimits)) {
	n.mq.mu.Lock()
	defer n.mq.mu.Unlock()
	set(&n.mq.limits)
}

// checkQueueName refuses what is no single name below the root.
func checkQueueName(name string) error {
	if name == "" {
		return unix.ENOENT
	}
	if name == "." || name == ".." || strings.ContainsRune(name, '/') {
		return unix.EACCES
	}
	if len(name) > unix.NAME_MAX {
		return unix.ENAMETOOLONG
	}
	return nil
}

// QueueOpen is mq_open(3) up to the descriptor; the name has no slash. attr may be nil. Errors: those of open(2), EINVAL, ENOSPC, EMFILE.
func (n *Namespace) QueueOpen(c Caller, name string, flags, mode uint32, attr *QueueAttr) (*vfs.Description, error) {
	if err := checkQueueName(name); err != nil {
		return nil, err
	}
	fs := &n.mq
	if flags&unix.O_CREAT != 0 && attr != nil {
		fs.mu.Lock()
		fs.asked[c] = attr
		fs.mu.Unlock()
		defer func() {
			fs.mu.Lock()
			delete(fs.asked, c)
			fs.mu.Unlock()
		}()
	}
	flags &= unix.O_ACCMODE | unix.O_CREAT | unix.O_EXCL | unix.O_NONBLOCK
	if flags&unix.O_ACCMODE == unix.O_ACCMODE {
		return nil, unix.EINVAL
	}
	return vfs.Open(c, vfs.AtPath(fs.mount.Root()), name, flags, mode)
}

// QueueUnlink is mq_unlink(3). Errors: those of unlink(2).
func (n *Namespace) QueueUnlink(c Caller, name string) error {
	if err := checkQueueName(name); err != nil {
		return err
	}
	return vfs.Unlink(c, vfs.AtPath(n.mq.mount.Root()), name)
}

// make makes a queue for the caller, counting it. Errors: EINVAL, ENOSPC, EMFILE.
func (fs *queueFS) make(c Caller) (*queueInode, error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	privileged := c.Creds().Has(unix.CAP_SYS_RESOURCE)
	if fs.queues >= fs.limits.Queues && !privileged {
		return nil, unix.ENOSPC
	}
	a := QueueAttr{MaxMessages: min(fs.limits.MaxMessages, fs.limits.DefaultMessages), MessageSize: min(fs.limits.MessageSize, fs.limits.DefaultMessageSize)}
	if asked := fs.asked[c]; asked != nil {
		a = *asked
	}
	most, size := fs.limits.MaxMessages, fs.limits.MessageSize
	if privileged {
		most, size = queueHardMessages, queueHardSize
	}
	if a.MaxMessages <= 0 || a.MessageSize <= 0 || a.MaxMessages > most || a.MessageSize > size {
		return nil, unix.EINVAL
	}
	user, cost := c.Creds().UID, a.cost()
	if limit := c.Rlimit(unix.RLIMIT_MSGQUEUE); cost > limit || fs.bytes[user] > limit-cost {
		return nil, unix.EMFILE
	}
	fs.queues++
	fs.bytes[user] += cost
	fs.lastIno++
	q := &queueInode{fs: fs, attr: a, owner: user, cost: cost}
	q.Ino = fs.lastIno
	return q, nil
}

// gone takes a queue out of the count.
func (fs *queueFS) gone(q *queueInode) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.queues--
	if fs.bytes[q.owner] -= q.cost; fs.bytes[q.owner] == 0 {
		delete(fs.bytes, q.owner)
	}
}

// queueDirectory is the root directory, the only one.
type queueDirectory struct {
	vfs.Attrs
	vfs.ReadOnlyDirectory
	fs *queueFS

	mu    sync.Mutex
	names map[string]*queueInode
}

// Size implements vfs.Inode.
func (d *queueDirectory) Size() (int64, int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return int64(20 * len(d.names)), 0 // DIRENT_SIZE
}

// Lookup implements vfs.Inode.
func (d *queueDirectory) Lookup(name string) (vfs.Inode, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if q := d.names[name]; q != nil {
		return q, nil
	}
	return nil, unix.ENOENT
}

// Create implements vfs.Inode.
func (d *queueDirectory) Create(c vfs.Caller, name string, mode uint32, _ uint64) (vfs.Inode, error) {
	if mode&unix.S_IFMT != unix.S_IFREG {
		return nil, unix.EPERM
	}
	q, err := d.fs.make(c)
	if err != nil {
		return nil, err
	}
	mode, uid, gid := vfs.NewOwner(c, &d.Attrs, mode)
	q.Init(d.fs.dev, q.Ino, mode, uid, gid)
	d.mu.Lock()
	d.names[name] = q
	d.mu.Unlock()
	d.Modified()
	return q, nil
}

// Unlink implements vfs.Inode.
func (d *queueDirectory) Unlink(_ vfs.Caller, name string, target vfs.Inode) error {
	d.mu.Lock()
	delete(d.names, name)
	d.mu.Unlock()
	d.Modified()
	target.Attributes().AddLinks(-1)
	return nil
}

// Open implements vfs.Inode.
func (d *queueDirectory) Open(vfs.Caller, *vfs.Description) (vfs.File, error) {
	return openQueueDirectory{d: d}, nil
}

type openQueueDirectory struct {
	vfs.DirectoryFile
	d *queueDirectory
}

// ReadDir implements vfs.File. Positions are inode numbers, which grow.
func (o openQueueDirectory) ReadDir(_ vfs.Caller, fd *vfs.Description, pos *int64, emit func(vfs.Dirent) bool) error {
	if !vfs.EmitDots(fd, pos, emit) {
		return nil
	}
	type named struct {
		name string
		ino  uint64
	}
	var list []named
	o.d.mu.Lock()
	for name, q := range o.d.names {
		if int64(q.Ino) >= *pos {
			list = append(list, named{name, q.Ino})
		}
	}
	o.d.mu.Unlock()
	slices.SortFunc(list, func(a, b named) int { return int(int64(a.ino) - int64(b.ino)) })
	for _, e := range list {
		if !emit(vfs.Dirent{Name: e.name, Ino: e.ino, Type: unix.DT_REG, Next: int64(e.ino) + 1}) {
			return nil
		}
		*pos = int64(e.ino) + 1
	}
	return nil
}
