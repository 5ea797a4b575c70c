package task

import (
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/mm"
	"ringo/guestkernel/wait"
)

const futexBuckets = 256

// futexTable holds the tasks that wait on user words. A bucket is locked before an address space.
type futexTable struct {
	buckets [futexBuckets]futexBucket
	owners  sync.Mutex // guards Task.locks; taken with a bucket locked
}

type futexBucket struct {
	mu    sync.Mutex
	head  *futexWaiter
	locks map[mm.WordKey]*piLock // with waiters
}

// futexWaiter is a task's place in a bucket.
type futexWaiter struct {
	key        mm.WordKey
	bits       uint32
	c          chan struct{}               // capacity 1
	bucket     atomic.Pointer[futexBucket] // nil: not queued; changes with that bucket locked
	prev, next *futexWaiter

	// Of a wait for a lock with priority inheritance (futexpi.go), guarded by the bucket.
	task   *Task
	lock   *piLock // it waits for, nil: an ordinary wait
	moves  bool    // FUTEX_WAIT_REQUEUE_PI: waits to be moved to target
	target mm.WordKey
	owns   bool // was given the lock
	died   bool // by an owner that died: the word has to be written
}

func (f *futexTable) of(k mm.WordKey) *futexBucket {
	return &f.buckets[k.Hash()%futexBuckets]
}

// pushLocked appends: waiters are woken in the order in which they came.
func (b *futexBucket) pushLocked(w *futexWaiter) {
	w.bucket.Store(b)
	w.next, w.prev = nil, nil
	if b.head == nil {
		b.head = w
		return
	}
	last := b.head
	for last.next != nil {
		last = last.next
	}
	last.next, w.prev = w, last
}

func (b *futexBucket) removeLocked(w *futexWaiter) {
	if w.lock != nil {
		w.lock.waiters--
	}
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		b.head = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	}
	w.prev, w.next = nil, nil
	w.bucket.Store(nil)
}

// wakeLocked wakes up to count waiters of a word. The error is EINVAL: one of them waits for a lock, which only unlocking wakes.
func (b *futexBucket) wakeLocked(key mm.WordKey, count int, bits uint32) (woken int, err error) {
	for w := b.head; w != nil && woken < count; {
		next := w.next
		if w.key == key && w.bits&bits != 0 {
			if w.lock != nil || w.moves {
				return woken, unix.EINVAL
			}
			b.removeLocked(w)
			w.wake()
			woken++
		}
		w = next
	}
	return woken, nil
}

// wake tells the waiter, which has left its queue. One that waits on several words may have been told already.
func (w *futexWaiter) wake() {
	select {
	case w.c <- struct{}{}:
	default:
	}
}

// lockTwo locks two buckets in address order.
func (f *futexTable) lockTwo(a, b *futexBucket) (unlock func()) {
	if a == b {
		a.mu.Lock()
		return a.mu.Unlock
	}
	index := func(x *futexBucket) int {
		for i := range f.buckets {
			if x == &f.buckets[i] {
				return i
			}
		}
		return -1
	}
	if index(a) > index(b) {
		a, b = b, a
	}
	a.mu.Lock()
	b.mu.Lock()
	return func() {
		b.mu.Unlock()
		a.mu.Unlock()
	}
}

// FutexWait is FUTEX_WAIT_BITSET: it sleeps while the word at addr holds value, until woken by a bit of bits
// or the deadline (zero: none). Errors: EAGAIN (other value), EINVAL, EFAULT, ETIMEDOUT, wait.ErrRestart.
func (t *Task) FutexWait(addr uint64, private bool, value, bits uint32, deadline time.Time) error {
	if bits == 0 {
		return unix.EINVAL
	}
	key, err := t.space.KeyOf(addr, private)
	if err != nil {
		return err
	}
	w := t.newFutexWaiter(key, bits)
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

	result := t.Sleep(w.c, deadline)
	if result == wait.Woken {
		return nil
	}
	// A wake-up may come until the waiter has left its queue, which requeueing may have changed.
	if !w.leave() {
		<-w.c
		return nil
	}
	if result == wait.TimedOut {
		return unix.ETIMEDOUT
	}
	return wait.ErrRestart
}

// newFutexWaiter prepares the task's place for a wait on one word.
func (t *Task) newFutexWaiter(key mm.WordKey, bits uint32) *futexWaiter {
	w := &t.waiter
	if w.c == nil {
		w.c = make(chan struct{}, 1)
	}
	w.key, w.bits, w.task = key, bits, t
	w.lock, w.moves, w.owns, w.died = nil, false, false, false
	return w
}

// leave takes w out of its bucket; false says that it was woken before.
func (w *futexWaiter) leave() bool {
	for {
		b := w.bucket.Load()
		if b == nil {
			return false
		}
		b.mu.Lock()
		if w.bucket.Load() == b { // else requeued or woken in between
			b.removeLocked(w)
			if l := w.lock; l != nil && l.waiters == 0 && l.written {
				w.task.k.futexes.forgetLocked(b, l)
			}
			b.mu.Unlock()
			return true
		}
		b.mu.Unlock()
	}
}

// FutexWake wakes up to count waiters on the word at addr whose bits meet and answers how many. Errors: EINVAL, EFAULT.
func (t *Task) FutexWake(addr uint64, private bool, count int, bits uint32) (int, error) {
	if bits == 0 {
		return 0, unix.EINVAL
	}
	key, err := t.space.KeyOf(addr, private)
	if err != nil {
		return 0, err
	}
	b := t.k.futexes.of(key)
	b.mu.Lock()
	woken := 0
	if b.head != nil {
		woken, err = b.wakeLocked(key, count, bits)
	}
	b.mu.Unlock()
	return woken, err
}

// FutexRequeue wakes wake waiters of one word and moves up to move others to another. With check the word must hold value
// (EAGAIN). It answers the number woken plus, with check, the number moved (FUTEX_CMP_REQUEUE).
func (t *Task) FutexRequeue(addr, to uint64, private bool, wake, move int, check bool, value uint32) (int, error) {
	if wake < 0 || move < 0 {
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
	f := &t.k.futexes
	a, b := f.of(from), f.of(dest)
	defer f.lockTwo(a, b)()
	if check {
		now, err := t.space.Load32(addr)
		if err != nil {
			return 0, err
		}
		if now != value {
			return 0, unix.EAGAIN
		}
	}
	n, err := a.wakeLocked(from, wake, ^uint32(0))
	if err != nil || from == dest {
		return n, err
	}
	moved := 0
	for w := a.head; w != nil && moved < move; {
		next := w.next
		if w.key == from {
			if w.lock != nil || w.moves {
				return n, unix.EINVAL
			}
			a.removeLocked(w)
			w.key = dest
			b.pushLocked(w)
			moved++
		}
		w = next
	}
	if check {
		n += moved
	}
	return n, nil
}

// FutexWakeOp is FUTEX_WAKE_OP: it changes the second word, wakes waiters of the first, and waiters of the second if its old
// value compares. Errors: EINVAL, EFAULT, ENOSYS (unknown operation).
func (t *Task) FutexWakeOp(addr, addr2 uint64, private bool, wake, wake2 int, op uint32) (int, error) {
	key, err := t.space.KeyOf(addr, private)
	if err != nil {
		return 0, err
	}
	key2, err := t.space.KeyOf(addr2, private)
	if err != nil {
		return 0, err
	}
	kind, cmp := op>>28&0xf, op>>24&0xf
	arg := uint32(int32(op<<8) >> 20)
	cmpArg := int32(op<<20) >> 20
	if kind&8 != 0 {
		arg = 1 << (arg & 31)
		kind &^= 8
	}
	if kind > 4 || cmp > 5 {
		return 0, unix.ENOSYS
	}
	f := &t.k.futexes
	a, b := f.of(key), f.of(key2)
	defer f.lockTwo(a, b)()
	old, err := t.space.Update32(addr2, func(v uint32) uint32 {
		switch kind {
		case 0:
			return arg
		case 1:
			return v + arg
		case 2:
			return v | arg
		case 3:
			return v &^ arg
		default:
			return v ^ arg
		}
	})
	if err != nil {
		return 0, err
	}
	n, err := a.wakeLocked(key, wake, ^uint32(0))
	o := int32(old)
	hit := [...]bool{o == cmpArg, o != cmpArg, o < cmpArg, o <= cmpArg, o > cmpArg, o >= cmpArg}[cmp]
	if err == nil && hit {
		var more int
		more, err = b.wakeLocked(key2, wake2, ^uint32(0))
		n += more
	}
	return n, err
}
