package vfs

import (
	"time"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/wait"
)

// flockState are the flock(2) locks on an inode: owned by descriptions.
type flockState struct {
	queue     wait.Queue
	exclusive *Description
	shared    map[*Description]struct{}
}

// Flock is flock(2).
func (d *Description) Flock(c Caller, op int) error {
	block := op&unix.LOCK_NB == 0
	op &^= unix.LOCK_NB
	switch op {
	case unix.LOCK_UN:
	case unix.LOCK_SH, unix.LOCK_EX:
	default:
		return unix.EINVAL
	}
	if d.PathOnly() {
		return unix.EBADF
	}
	a := d.inode.Attributes()
	a.mu.Lock()
	if a.locks == nil {
		if op == unix.LOCK_UN {
			a.mu.Unlock()
			return nil
		}
		a.locks = &flockState{shared: make(map[*Description]struct{})}
	}
	l := a.locks
	a.mu.Unlock()
	if op == unix.LOCK_UN {
		d.unlockAll()
		return nil
	}
	d.flocked.Store(true)
	try := func() error {
		a.mu.Lock()
		defer a.mu.Unlock()
		_, had := l.shared[d]
		others := len(l.shared)
		if had {
			others--
		}
		if l.exclusive != nil && l.exclusive != d || op == unix.LOCK_EX && others > 0 {
			return wait.ErrWouldBlock
		}
		if op == unix.LOCK_EX {
			delete(l.shared, d)
			l.exclusive = d
		} else {
			l.shared[d] = struct{}{}
			if l.exclusive == d {
				l.exclusive = nil
				l.queue.Notify(wait.In)
			}
		}
		return nil
	}
	err := try()
	if err != wait.ErrWouldBlock {
		return err
	}
	// A conversion is not atomic: the lock that was held is given up first (flock(2)).
	d.unlockAll()
	d.flocked.Store(true)
	if !block {
		if err = try(); err == wait.ErrWouldBlock {
			err = unix.EAGAIN
		}
		return err
	}
	return wait.Block(c, &l.queue, wait.In, time.Time{}, try)
}

// unlockAll drops the description's flock lock.
func (d *Description) unlockAll() {
	if !d.flocked.Swap(false) {
		return
	}
	a := d.inode.Attributes()
	a.mu.Lock()
	l := a.locks
	if l != nil {
		delete(l.shared, d)
		if l.exclusive == d {
			l.exclusive = nil
		}
	}
	a.mu.Unlock()
	if l != nil {
		l.queue.Notify(wait.In)
	}
}
