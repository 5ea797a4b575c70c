package eventfs

import (
	"encoding/binary"
	"sync"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/vfs"
	"ringo/guestkernel/wait"
)

// maxQueued is how many events wait to be read (max_queued_events).
const maxQueued = 16384

// eventHeader is the size of struct inotify_event without the name, and what names are padded to.
const eventHeader = 16

// Inotify is an inotify instance.
//
// Locks: mu is a leaf but for the queue's own lock: events come with locks of the tree held.
type Inotify struct {
	vfs.StreamFile
	queue wait.Queue

	mu      sync.Mutex
	watches map[int]*watch
	byInode map[vfs.Inode]*watch
	last    int // watch descriptor given out last
	events  []notice
	lost    bool // an overflow is queued
}

// watch is a watched inode.
type watch struct {
	n     *Inotify
	wd    int
	inode vfs.Inode
	mask  uint32
	gone  bool
}

type notice struct {
	wd           int32
	mask, cookie uint32
	name         string
}

// NewInotify is inotify_init1(2) up to the descriptor; flags are of IN_NONBLOCK.
func NewInotify(c vfs.Caller, flags uint32) (*vfs.Description, error) {
	n := &Inotify{watches: make(map[int]*watch), byInode: make(map[vfs.Inode]*watch)}
	return vfs.NewAnonymous(c, "inotify", unix.O_RDONLY|flags, n)
}

// InotifyOf answers the instance behind a description: EINVAL when it is something else.
func InotifyOf(d *vfs.Description) (*Inotify, error) {
	if n, ok := d.File().(*Inotify); ok {
		return n, nil
	}
	return nil, unix.EINVAL
}

// Add is inotify_add_watch(2) on a resolved path: the watch descriptor.
func (n *Inotify) Add(i vfs.Inode, mask uint32) (int, error) {
	n.mu.Lock()
	if w := n.byInode[i]; w != nil {
		defer n.mu.Unlock()
		if mask&unix.IN_MASK_CREATE != 0 {
			return 0, unix.EEXIST
		}
		if mask&unix.IN_MASK_ADD != 0 {
			mask |= w.mask
		}
		w.mask = mask
		return w.wd, nil
	}
	n.last++
	w := &watch{n: n, wd: n.last, inode: i, mask: mask}
	n.watches[w.wd], n.byInode[i] = w, w
	n.mu.Unlock()
	vfs.Watch(i, w)
	return w.wd, nil
}

// Remove is inotify_rm_watch(2): EINVAL when there is no such watch.
func (n *Inotify) Remove(wd int) error {
	n.mu.Lock()
	w := n.watches[wd]
	if w == nil {
		n.mu.Unlock()
		return unix.EINVAL
	}
	n.end(w)
	n.mu.Unlock()
	vfs.Unwatch(w.inode, w)
	return nil
}

// end takes a watch out. mu is held.
func (n *Inotify) end(w *watch) {
	if w.gone {
		return
	}
	w.gone = true
	delete(n.watches, w.wd)
	delete(n.byInode, w.inode)
	n.put(notice{wd: int32(w.wd), mask: unix.IN_IGNORED})
}

// put queues an event, unless it is the same as the newest one. mu is held.
func (n *Inotify) put(e notice) {
	if k := len(n.events); k > 0 && n.events[k-1] == e && e.mask&unix.IN_IGNORED == 0 {
		return
	}
	if len(n.events) >= maxQueued {
		if n.lost {
			return
		}
		n.lost = true
		e = notice{wd: -1, mask: unix.IN_Q_OVERFLOW}
	}
	n.events = append(n.events, e)
	n.queue.Notify(wait.In | wait.RdNorm)
}

// Event implements vfs.Watcher.
func (w *watch) Event(mask, cookie uint32, name string) {
	n := w.n
	n.mu.Lock()
	if w.gone || mask&w.mask&unix.IN_ALL_EVENTS == 0 {
		n.mu.Unlock()
		return
	}
	if mask&(unix.IN_MOVE_SELF|unix.IN_DELETE_SELF) != 0 {
		mask &^= unix.IN_ISDIR
	}
	n.put(notice{int32(w.wd), mask, cookie, name})
	once := w.mask&unix.IN_ONESHOT != 0
	if once {
		n.end(w)
	}
	n.mu.Unlock()
	if once {
		vfs.Unwatch(w.inode, w)
	}
}

// Gone implements vfs.Watcher.
func (w *watch) Gone() {
	w.n.mu.Lock()
	w.n.end(w)
	w.n.mu.Unlock()
}

// Register implements wait.Source.
func (n *Inotify) AsyncEvents() (wait.Mask, bool) { return wait.In, false }

// Register implements wait.Source.
func (n *Inotify) Register(e *wait.Entry, m wait.Mask) { n.queue.Register(e, m) }

// Unregister implements wait.Source.
func (n *Inotify) Unregister(e *wait.Entry) { n.queue.Unregister(e) }

// Readiness implements vfs.File.
func (n *Inotify) Readiness(*vfs.Description) wait.Mask {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.events) > 0 {
		return wait.In | wait.RdNorm
	}
	return 0
}

// nameSize is the room that a name takes, with its NUL and padding.
func (e *notice) nameSize() int {
	if e.name == "" {
		return 0
	}
	return (len(e.name)/eventHeader + 1) * eventHeader
}

// Read implements vfs.File: as many whole events as fit.
func (n *Inotify) Read(_ vfs.Caller, _ *vfs.Description, dst vfs.Buffer, _ *int64) (int, error) {
	n.mu.Lock()
	if len(n.events) == 0 {
		n.mu.Unlock()
		return 0, wait.ErrWouldBlock
	}
	var b []byte
	taken := 0
	for i := range n.events {
		e := &n.events[i]
		if len(b)+eventHeader+e.nameSize() > dst.Len() {
			break
		}
		start := len(b)
		for _, v := range []uint32{uint32(e.wd), e.mask, e.cookie, uint32(e.nameSize())} {
			b = binary.LittleEndian.AppendUint32(b, v)
		}
		b = append(b, e.name...)
		b = append(b, make([]byte, start+eventHeader+e.nameSize()-len(b))...)
		if e.mask == unix.IN_Q_OVERFLOW {
			n.lost = false
		}
		taken++
	}
	n.events = n.events[taken:]
	n.mu.Unlock()
	if taken == 0 {
		return 0, unix.EINVAL
	}
	return dst.CopyOut(0, b)
}

// Ioctl implements vfs.File.
func (n *Inotify) Ioctl(c vfs.Caller, _ *vfs.Description, cmd uint32, arg uint64) (uint64, error) {
	if cmd != unix.TIOCINQ {
		return 0, unix.ENOTTY
	}
	n.mu.Lock()
	size := 0
	for i := range n.events {
		size += eventHeader + n.events[i].nameSize()
	}
	n.mu.Unlock()
	return 0, vfs.PutInt32(c, arg, int32(size))
}

// Release implements vfs.File.
func (n *Inotify) Release(*vfs.Description) {
	n.mu.Lock()
	var all []*watch
	for _, w := range n.watches {
		w.gone = true
		all = append(all, w)
	}
	clear(n.watches)
	clear(n.byInode)
	n.events = nil
	n.mu.Unlock()
	for _, w := range all {
		vfs.Unwatch(w.inode, w)
	}
}
