package task

import (
	"time"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/wait"
)

// FutexWord is one of several words to wait on, with the value that it has to have.
type FutexWord struct {
	Addr    uint64
	Value   uint32
	Private bool
}

// FutexWaitAny is futex_waitv(2): it sleeps until one of the words is woken and answers which. Errors: EAGAIN (another value), EINVAL, EFAULT, ETIMEDOUT,
// wait.ErrRestart.
func (t *Task) FutexWaitAny(words []FutexWord, deadline time.Time) (int, error) {
	c := make(chan struct{}, 1)
	waiters := make([]futexWaiter, len(words))
	f := &t.k.futexes
	for i := range waiters {
		key, err := t.space.KeyOf(words[i].Addr, words[i].Private)
		if err != nil {
			return 0, err
		}
		waiters[i].key, waiters[i].bits, waiters[i].c, waiters[i].task = key, ^uint32(0), c, t
	}
	// leave answers the last one of the first n that was woken, or -1.
	leave := func(n int) int {
		woken := -1
		for i := range waiters[:n] {
			if !waiters[i].leave() {
				woken = i
			}
		}
		return woken
	}
	for i := range waiters {
		w := &waiters[i]
		b := f.of(w.key)
		b.mu.Lock()
		now, err := t.space.Load32(words[i].Addr)
		if err == nil && now != words[i].Value {
			err = unix.EAGAIN
		}
		if err != nil {
			b.mu.Unlock()
			if woken := leave(i); woken >= 0 {
				return woken, nil // by somebody who was fast
			}
			return 0, err
		}
		b.pushLocked(w)
		b.mu.Unlock()
	}
	result := t.Sleep(c, deadline)
	if woken := leave(len(waiters)); woken >= 0 {
		return woken, nil
	}
	if result == wait.TimedOut {
		return 0, unix.ETIMEDOUT
	}
	return 0, wait.ErrRestart
}
