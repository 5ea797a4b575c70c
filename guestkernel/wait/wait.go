// Package wait holds wait queues: how whatever sleeps in the kernel learns that something it can use has become ready.
//
// The protocol has no lost wake-ups as long as it is kept: register an entry, then look again, then sleep. [Block] keeps it for callers
// that wait for one thing; poll and epoll register entries of their own.
//
// Locks: a queue's lock is a leaf. Notify may be called with any lock held; callbacks run with the queue's lock held, so they must not
// block and must not register, unregister or notify on the same queue. No function here may run in interrupt context: interrupts
// wake a goroutine, and that goroutine notifies.
package wait

import "sync"

// Mask is a set of readiness events with the values of EPOLL* and POLL* (poll(2), epoll_ctl(2)).
type Mask uint32

// Readiness events.
const (
	In     Mask = 0x001
	Pri    Mask = 0x002
	Out    Mask = 0x004
	Err    Mask = 0x008
	Hup    Mask = 0x010
	Nval   Mask = 0x020
	RdNorm Mask = 0x040
	RdBand Mask = 0x080
	WrNorm Mask = 0x100
	WrBand Mask = 0x200
	Msg    Mask = 0x400
	RdHup  Mask = 0x2000

	// Readable and Writable are what read and write wait for: errors and hang-ups end a wait too.
	Readable = In | RdNorm | Pri | Err | Hup | RdHup
	Writable = Out | WrNorm | Err | Hup
)

// Entry is one registration on a queue. It belongs to whoever sleeps and is on at most one queue at a time.
type Entry struct {
	// Notify is called with the events that became ready, with the queue's lock held.
	Notify func(ready Mask)

	mask       Mask
	queue      *Queue
	prev, next *Entry
}

// Queue is a list of entries to tell about readiness. The zero value is ready for use.
type Queue struct {
	mu         sync.Mutex
	head, tail *Entry
}

// Source is anything that entries can be registered on.
type Source interface {
	Register(e *Entry, mask Mask)
	Unregister(e *Entry)
}

// Register adds e for the events of mask. The caller looks at the state again after this.
func (q *Queue) Register(e *Entry, mask Mask) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if e.queue != nil {
		panic("wait: entry registered twice")
	}
	e.mask, e.queue = mask, q
	e.prev, e.next = q.tail, nil
	if q.tail != nil {
		q.tail.next = e
	} else {
		q.head = e
	}
	q.tail = e
}

// Unregister removes e; its callback is not running and will not run once this returns. An entry that is not registered is left alone.
func (q *Queue) Unregister(e *Entry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if e.queue != q {
		return
	}
	if e.prev != nil {
		e.prev.next = e.next
	} else {
		q.head = e.next
	}
	if e.next != nil {
		e.next.prev = e.prev
	} else {
		q.tail = e.prev
	}
	e.queue, e.prev, e.next = nil, nil, nil
}

// Notify tells every entry that asked for one of the events of ready.
func (q *Queue) Notify(ready Mask) {
	q.mu.Lock()
	for e := q.head; e != nil; e = e.next {
		if hit := e.mask & ready; hit != 0 {
			e.Notify(hit)
		}
	}
	q.mu.Unlock()
}

// Empty reports whether nobody is registered: notifiers with expensive events may look first.
func (q *Queue) Empty() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.head == nil
}

// Always is the source of files whose readiness never changes, like regular files.
type Always struct{}

// Register does nothing: there will be no event.
func (Always) Register(*Entry, Mask) {}

// Unregister does nothing.
func (Always) Unregister(*Entry) {}
