package task

import (
	"time"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/mm"
	"ringo/guestkernel/wait"
)

// Futexes with priority inheritance (FUTEX_LOCK_PI and its kin): the word holds its owner's tid, and unlocking gives the lock to the waiter of the highest
// real-time priority, the first of equals. The owner is not run any faster for its waiters: see docs/personality.md on priorities.

// piLock is a lock that somebody waits for. Guarded by its bucket.
type piLock struct {
	key     mm.WordKey
	owner   *Task
	waiters int
	written bool // false after the death of an owner until the next one has written the word
}

// setOwnerLocked makes a task the owner, nil: nobody any more.
func (f *futexTable) setOwnerLocked(l *piLock, t *Task) {
	f.owners.Lock()
	defer f.owners.Unlock()
	if l.owner != nil {
		delete(l.owner.locks, l)
	}
	if l.owner = t; t != nil {
		if t.locks == nil {
			t.locks = make(map[*piLock]struct{})
		}
		t.locks[l] = struct{}{}
	}
}

// forgetLocked drops a lock that nobody waits for: its word says everything again.
func (f *futexTable) forgetLocked(b *futexBucket, l *piLock) {
	f.setOwnerLocked(l, nil)
	delete(b.locks, l.key)
}

// acquireLocked takes the lock at addr of t's space for a task. got false without an error: l is the lock to wait for. Mirrors futex_lock_pi_atomic. Errors:
// EFAULT, EINVAL, EDEADLK, ESRCH (the owner does not exist).
func (t *Task) acquireLocked(b *futexBucket, key mm.WordKey, addr uint64, taker *Task) (got bool, l *piLock, err error) {
	l = b.locks[key]
	owner := uint32(0)
	_, fault := t.space.Update32(addr, func(old uint32) uint32 {
		got, err, owner = false, nil, old&futexTIDMask
		switch {
		case l != nil && l.owner == taker, l == nil && owner == uint32(taker.own):
			err = unix.EDEADLK
			return old
		case l == nil && owner == 0:
			got = true
			return old&futexOwnerDied | uint32(taker.own)
		}
		return old | futexWaiters
	})
	if fault != nil {
		return false, nil, fault
	}
	if err != nil || got || l != nil {
		return got, l, err
	}
	holder := t.k.Find(t.Global(int(owner)))
	if holder == nil || State(holder.state.Load()) == StateZombie {
		return false, nil, unix.ESRCH
	}
	l = &piLock{key: key, written: true}
	if b.locks == nil {
		b.locks = make(map[mm.WordKey]*piLock)
	}
	b.locks[key] = l
	t.k.futexes.setOwnerLocked(l, holder)
	return false, l, nil
}

// FutexLock is FUTEX_LOCK_PI, and FUTEX_TRYLOCK_PI with try. A zero deadline is none. Errors: EAGAIN (try), EDEADLK, ESRCH, EFAULT, EINVAL, ETIMEDOUT,
// wait.ErrRestartNoIntr.
func (t *Task) FutexLock(addr uint64, private bool, deadline time.Time, try bool) error {
	key, err := t.space.KeyOf(addr, private)
	if err != nil {
		return err
	}
	w := t.newFutexWaiter(key, ^uint32(0))
	b := t.k.futexes.of(key)
	b.mu.Lock()
	got, l, err := t.acquireLocked(b, key, addr, t)
	if !got && err == nil && try {
		err = unix.EAGAIN
		if l.waiters == 0 {
			t.k.futexes.forgetLocked(b, l)
		}
	}
	if got || err != nil {
		b.mu.Unlock()
		return err
	}
	l.waiters++
	w.lock = l
	b.pushLocked(w)
	b.mu.Unlock()
	switch result := t.Sleep(w.c, deadline); {
	case result == wait.Woken || !w.leave():
		return t.acquired(w, addr, result != wait.Woken)
	case result == wait.TimedOut:
		return unix.ETIMEDOUT
	}
	return wait.ErrRestartNoIntr
}

// acquired ends a wait that was ended with the lock; told says that the wake-up is still in the channel.
func (t *Task) acquired(w *futexWaiter, addr uint64, told bool) error {
	if told {
		<-w.c
	}
	if !w.died {
		return nil
	}
	// The owner died with the word as it was (fixup_pi_state_owner).
	f := &t.k.futexes
	b := f.of(w.key)
	b.mu.Lock()
	defer b.mu.Unlock()
	l := w.lock
	_, err := t.space.Update32(addr, func(uint32) uint32 {
		word := uint32(t.own) | futexOwnerDied
		if l.waiters > 0 {
			word |= futexWaiters
		}
		return word
	})
	if l.written = true; l.waiters == 0 {
		f.forgetLocked(b, l)
	}
	return err
}

// firstLocked is the waiter that gets the lock next.
func (b *futexBucket) firstLocked(l *piLock) (first *futexWaiter) {
	for w := b.head; w != nil; w = w.next {
		if w.lock == l && (first == nil || w.task.RealtimePriority() > first.task.RealtimePriority()) {
			first = w
		}
	}
	return first
}

// giveLocked gives a lock to a waiter. After the death of its owner the waiter writes the word itself, and until it has, the lock is not forgotten.
func (f *futexTable) giveLocked(b *futexBucket, l *piLock, w *futexWaiter, died bool) {
	b.removeLocked(w)
	w.owns, w.died = true, died
	l.written = !died
	if l.waiters == 0 && !died {
		f.forgetLocked(b, l)
	} else {
		f.setOwnerLocked(l, w.task)
	}
	w.wake()
}

// FutexUnlock is FUTEX_UNLOCK_PI. Errors: EPERM (not the owner), EFAULT, EINVAL.
func (t *Task) FutexUnlock(addr uint64, private bool) error {
	key, err := t.space.KeyOf(addr, private)
	if err != nil {
		return err
	}
	f := &t.k.futexes
	b := f.of(key)
	b.mu.Lock()
	defer b.mu.Unlock()
	word, err := t.space.Load32(addr)
	switch {
	case err != nil:
		return err
	case word&futexTIDMask != uint32(t.own):
		return unix.EPERM
	}
	l := b.locks[key]
	if l != nil && l.owner != t {
		return unix.EINVAL // the word lies
	}
	next := uint32(0)
	var w *futexWaiter
	if l != nil {
		if w = b.firstLocked(l); w != nil {
			next = uint32(w.task.own) | futexWaiters
		}
	}
	if _, err := t.space.Update32(addr, func(uint32) uint32 { return next }); err != nil {
		return err
	}
	if w != nil {
		f.giveLocked(b, l, w, false)
	}
	return nil
}

// exitLocks gives the locks that the task owns and others wait for to them (exit_pi_state_list).
func (t *Task) exitLocks() {
	f := &t.k.futexes
	for {
		var l *piLock
		f.owners.Lock()
		for l = range t.locks {
			break
		}
		f.owners.Unlock()
		if l == nil {
			return
		}
		b := f.of(l.key)
		b.mu.Lock()
		if b.locks[l.key] == l && l.owner == t {
			if w := b.firstLocked(l); w != nil {
				f.giveLocked(b, l, w, true)
			} else {
				f.forgetLocked(b, l)
			}
		}
		b.mu.Unlock()
	}
}

// FutexWaitRequeue is FUTEX_WAIT_REQUEUE_PI: it waits on a word until FutexRequeueLock has moved it to the lock at another and it has that. Errors: EAGAIN (another
// value), EINVAL, EFAULT, ETIMEDOUT, wait.ErrRestartNoIntr.
func (t *Task) FutexWaitRequeue(addr, to uint64, private bool, value uint32, deadline time.Time) error {
	key, err := t.space.KeyOf(addr, private)
	if err != nil {
		return err
	}
	target, err := t.space.KeyOf(to, private)
	if err != nil {
		return err
	}
	if key == target {
		return unix.EINVAL
	}
	w := t.newFutexWaiter(key, ^uint32(0))
	w.moves, w.target = true, target
	b := t.k.futexes.of(key)
	b.mu.Lock()
	now, err := t.space.Load32(addr)
	if err == nil && now != value {
		err = unix.EAGAIN
	}
	if err != nil {
		b.mu.Unlock()
		return err
	}
	b.pushLocked(w)
	b.mu.Unlock()
	switch result := t.Sleep(w.c, deadline); {
	case result == wait.Woken || !w.leave():
		return t.acquired(w, to, result != wait.Woken)
	case result == wait.TimedOut:
		return unix.ETIMEDOUT
	case w.moves:
		return wait.ErrRestartNoIntr
	}
	return unix.EAGAIN // moved, then interrupted: it cannot be done again as it was
}

// FutexRequeueLock is FUTEX_CMP_REQUEUE_PI: waiters of FutexWaitRequeue go to the lock at another word, the first of them with the lock if it is free. It answers how
// many. Errors: EAGAIN (another value), EINVAL (other waiters), EDEADLK, ESRCH, EFAULT.
func (t *Task) FutexRequeueLock(addr, to uint64, private bool, move int, value uint32) (n int, err error) {
	if move < 0 {
		return 0, unix.EINVAL
	}
	from, err := t.space.KeyOf(addr, private)
	if err != nil {
		return 0, err
	}
	dest, err := t.space.KeyOf(to, private)
	if err != nil {
		return 0, err
	}
	if from == dest {
		return 0, unix.EINVAL
	}
	f := &t.k.futexes
	a, b := f.of(from), f.of(dest)
	defer f.lockTwo(a, b)()
	now, err := t.space.Load32(addr)
	if err == nil && now != value {
		err = unix.EAGAIN
	}
	if err != nil {
		return 0, err
	}
	for w := a.head; w != nil && n <= move; {
		next := w.next
		if w.key != from {
			w = next
			continue
		}
		if !w.moves || w.target != dest {
			return n, unix.EINVAL
		}
		l := b.locks[dest]
		if l == nil || n == 0 {
			var got bool
			if got, l, err = t.acquireLocked(b, dest, to, w.task); err != nil {
				return n, err
			}
			if got {
				a.removeLocked(w)
				w.moves, w.owns = false, true
				w.wake()
				n++
				w = next
				continue
			}
		}
		a.removeLocked(w)
		w.key, w.moves, w.lock = dest, false, l
		l.waiters++
		b.pushLocked(w)
		n++
		w = next
	}
	return n, nil
}
