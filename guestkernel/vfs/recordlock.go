package vfs

import (
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/wait"
)

// RecordLock is a range of a file that is locked (fcntl(2), advisory record locking).
type RecordLock struct {
	Exclusive  bool
	Start, End int64 // bytes; End is the last one
	PID        int   // of the process that took it; -1: a description owns it
	owner      any   // *FDTable: a process; *Description: whoever shares it
}

// maxOffset is the end of a lock to the end of the file, wherever that will be.
const maxOffset = 1<<63 - 1

// recordLocks are the record locks on an inode, in no particular order; those of one owner do not overlap.
type recordLocks struct {
	queue wait.Queue

	mu    sync.Mutex
	locks []RecordLock
}

// lockWaits knows which owner waits for which other one, over all files, to find circles.
var lockWaits struct {
	sync.Mutex
	on map[any]any
}

func (a *Attrs) recordLocks(create bool) *recordLocks {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.records == nil && create {
		a.records = &recordLocks{}
	}
	return a.records
}

// conflict answers a lock of somebody else that excludes l. mu is held.
func (r *recordLocks) conflict(l RecordLock) *RecordLock {
	for i := range r.locks {
		o := &r.locks[i]
		if o.owner != l.owner && (o.Exclusive || l.Exclusive) && o.Start <= l.End && l.Start <= o.End {
			return o
		}
	}
	return nil
}

// carve takes [start, end] out of the locks of owner. mu is held.
func (r *recordLocks) carve(owner any, start, end int64) {
	var kept []RecordLock
	for _, o := range r.locks {
		if o.owner != owner || o.End < start || end < o.Start {
			kept = append(kept, o)
			continue
		}
		if o.Start < start {
			left := o
			left.End = start - 1
			kept = append(kept, left)
		}
		if o.End > end {
			right := o
			right.Start = end + 1
			kept = append(kept, right)
		}
	}
	r.locks = kept
}

// put enters l, which conflicts with nothing, joining it with what its owner holds of the same kind beside it. mu is held.
func (r *recordLocks) put(l RecordLock) {
	r.carve(l.owner, l.Start, l.End)
	for {
		i := slices.IndexFunc(r.locks, func(o RecordLock) bool {
			return o.owner == l.owner && o.Exclusive == l.Exclusive && (o.End+1 == l.Start && o.End != maxOffset || l.End != maxOffset && l.End+1 == o.Start)
		})
		if i < 0 {
			break
		}
		l.Start, l.End = min(l.Start, r.locks[i].Start), max(l.End, r.locks[i].End)
		r.locks = slices.Delete(r.locks, i, i+1)
	}
	r.locks = append(r.locks, l)
}

// lockOwner is who a record lock of this call belongs to.
func (d *Description) lockOwner(c Caller, byDescription bool) (owner any, pid int) {
	if byDescription {
		return d, -1
	}
	return c.FDs(), c.PID()
}

// TestLock is F_GETLK: the first lock that keeps the caller from having l, or nil.
func (d *Description) TestLock(c Caller, l RecordLock, byDescription bool) *RecordLock {
	r := d.inode.Attributes().recordLocks(false)
	if r == nil {
		return nil
	}
	l.owner, _ = d.lockOwner(c, byDescription)
	r.mu.Lock()
	defer r.mu.Unlock()
	if o := r.conflict(l); o != nil {
		found := *o
		return &found
	}
	return nil
}

// Lock is F_SETLK and, with block, F_SETLKW. Errors: EAGAIN, EDEADLK.
func (d *Description) Lock(c Caller, l RecordLock, byDescription, block bool) error {
	l.owner, l.PID = d.lockOwner(c, byDescription)
	r := d.inode.Attributes().recordLocks(true)
	if byDescription {
		d.OnClose(r, func() { r.release(d) })
	}
	var holder any
	try := func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if o := r.conflict(l); o != nil {
			holder = o.owner
			return wait.ErrWouldBlock
		}
		r.put(l)
		return nil
	}
	err := try()
	if err != wait.ErrWouldBlock {
		r.queue.Notify(wait.In) // a lock that became weaker lets others in
		return err
	}
	if !block {
		return unix.EAGAIN
	}
	defer waitFor(l.owner, nil)
	return wait.Block(c, &r.queue, wait.In, time.Time{}, func() error {
		err := try()
		if err == wait.ErrWouldBlock && !byDescription && !waitFor(l.owner, holder) {
			return unix.EDEADLK
		}
		return err
	})
}

// waitFor notes that owner waits for holder (nil: no longer) and reports whether that leaves no circle.
func waitFor(owner, holder any) bool {
	lockWaits.Lock()
	defer lockWaits.Unlock()
	if holder == nil {
		delete(lockWaits.on, owner)
		return true
	}
	for o := holder; o != nil; o = lockWaits.on[o] {
		if o == owner {
			return false
		}
	}
	if lockWaits.on == nil {
		lockWaits.on = make(map[any]any)
	}
	lockWaits.on[owner] = holder
	return true
}

// Unlock is F_SETLK with F_UNLCK.
func (d *Description) Unlock(c Caller, start, end int64, byDescription bool) {
	r := d.inode.Attributes().recordLocks(false)
	if r == nil {
		return
	}
	owner, _ := d.lockOwner(c, byDescription)
	r.mu.Lock()
	r.carve(owner, start, end)
	r.mu.Unlock()
	r.queue.Notify(wait.In)
}

// release drops all locks of an owner.
func (r *recordLocks) release(owner any) {
	r.mu.Lock()
	before := len(r.locks)
	r.carve(owner, 0, maxOffset)
	changed := len(r.locks) != before
	r.mu.Unlock()
	if changed {
		r.queue.Notify(wait.In)
	}
}

// leave drops the locks that a process has on the file: it closes a descriptor of it, any one.
func (d *Description) leave(t *FDTable) {
	if r := d.inode.Attributes().recordLocks(false); r != nil {
		r.release(t)
	}
	if l, ok := d.file.(leaver); ok {
		l.Leave(t)
	}
}

// leaver is a File that wants to know of every descriptor that a process closes: a message queue, for mq_notify(3).
type leaver interface{ Leave(t *FDTable) }
