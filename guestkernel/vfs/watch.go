package vfs

import (
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Watcher is told what happens to an inode: inotify(7). Methods may be called with locks of the tree held: they must not block or call back.
type Watcher interface {
	// Event reports events (IN_*); name is the entry's for events of a directory's entries, else empty; cookie joins the halves of a rename.
	Event(mask, cookie uint32, name string)
	// Gone says that the inode does not exist any more: there will be no more events.
	Gone()
}

// watchSet are the watchers of one inode.
type watchSet struct {
	mu   sync.Mutex
	list []Watcher
}

// watching counts all watches, so that nobody pays for events that nobody wants.
var watching atomic.Int64

var lastCookie atomic.Uint32

// Watch has w told of what happens to i and, for a directory, to its entries.
func Watch(i Inode, w Watcher) {
	a := i.Attributes()
	set := a.watchers.Load()
	if set == nil {
		a.watchers.CompareAndSwap(nil, &watchSet{})
		set = a.watchers.Load()
	}
	set.mu.Lock()
	defer set.mu.Unlock()
	set.list = append(set.list, w)
	watching.Add(1)
}

// Unwatch undoes Watch.
func Unwatch(i Inode, w Watcher) {
	set := i.Attributes().watchers.Load()
	if set == nil {
		return
	}
	set.mu.Lock()
	defer set.mu.Unlock()
	if at := slices.Index(set.list, w); at >= 0 {
		set.list = slices.Delete(set.list, at, at+1)
		watching.Add(-1)
	}
}

// tell tells the watchers of i.
func tell(i Inode, mask, cookie uint32, name string) {
	if watching.Load() == 0 || i == nil {
		return
	}
	set := i.Attributes().watchers.Load()
	if set == nil {
		return
	}
	set.mu.Lock()
	list := slices.Clone(set.list)
	set.mu.Unlock()
	for _, w := range list {
		w.Event(mask, cookie, name)
	}
}

// happened reports an event of the file behind d: to the watchers of its directory, with its name, and to its own. The tree is not locked.
func (d *Dentry) happened(mask uint32) {
	if watching.Load() == 0 || d.inode == nil {
		return
	}
	if d.isDir() {
		mask |= unix.IN_ISDIR
	}
	d.sb.tree.RLock()
	parent, name := d.parent, d.name
	d.sb.tree.RUnlock()
	if parent != nil {
		tell(parent.inode, mask, 0, name)
	}
	tell(d.inode, mask, 0, "")
}

// entryMask adds IN_ISDIR to an event of a directory's entry.
func entryMask(mask uint32, i Inode) uint32 {
	if i != nil && i.Attributes().IsDir() {
		mask |= unix.IN_ISDIR
	}
	return mask
}

// told reports the halves of a rename, in Linux's order (fsnotify_move).
func (r *rename) told(oldName, newName string) {
	if watching.Load() == 0 {
		return
	}
	move := func(from *Dentry, name string, to *Dentry, newName string, i Inode) {
		cookie := lastCookie.Add(1)
		tell(from.inode, entryMask(unix.IN_MOVED_FROM, i), cookie, name)
		tell(to.inode, entryMask(unix.IN_MOVED_TO, i), cookie, newName)
	}
	move(r.oldDir, oldName, r.newDir, newName, r.source.inode)
	if r.exchange {
		tell(r.source.inode, unix.IN_MOVE_SELF, 0, "")
		move(r.newDir, newName, r.oldDir, oldName, r.victim.inode)
		tell(r.victim.inode, unix.IN_MOVE_SELF, 0, "")
		return
	}
	if r.victim != nil && !r.victim.isDir() {
		tell(r.victim.inode, unix.IN_ATTRIB, 0, "")
	}
	tell(r.source.inode, unix.IN_MOVE_SELF, 0, "")
}

// goneFor tells the watchers of i that it is no more.
func goneFor(i Inode) {
	if i.Attributes().watchers.Load() != nil {
		tell(i, unix.IN_DELETE_SELF, 0, "")
		forget(i)
	}
}

// forget ends all watches of i.
func forget(i Inode) {
	set := i.Attributes().watchers.Load()
	if set == nil {
		return
	}
	set.mu.Lock()
	list := set.list
	set.list = nil
	set.mu.Unlock()
	watching.Add(int64(-len(list)))
	for _, w := range list {
		w.Gone()
	}
}
