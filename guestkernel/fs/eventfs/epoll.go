package eventfs

import (
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/vfs"
	"ringo/guestkernel/wait"
)

// Flags of an interest that are not events (epoll_ctl(2)).
const (
	edge      = wait.Mask(unix.EPOLLET & 0xffffffff)
	oneShot   = wait.Mask(unix.EPOLLONESHOT)
	wakeUp    = wait.Mask(unix.EPOLLWAKEUP)
	exclusive = wait.Mask(unix.EPOLLEXCLUSIVE)
	flagBits  = edge | oneShot | wakeUp | exclusive
)

// maxNesting is how deep epoll instances may watch each other (EP_MAX_NESTS).
const maxNesting = 4

// Epoll is an epoll instance.
//
// Locks: nesting orders changes of what instances watch, over all of them; mu guards the interests and is held while a watched file is asked
// for its readiness, so a file does not close under that; ready.Mutex guards the ready list and is a leaf: wait-queue callbacks take it.
type Epoll struct {
	vfs.StreamFile
	queue wait.Queue // told when an interest becomes ready

	mu        sync.Mutex
	interests map[interestKey]*interest

	ready struct {
		sync.Mutex
		list []*interest
	}
}

var nesting sync.Mutex

type interestKey struct {
	fd int
	d  *vfs.Description
}

// interest is a watched file.
type interest struct {
	ep     *Epoll
	key    interestKey
	events wait.Mask     // with flags; without events: switched off by EPOLLONESHOT
	want   atomic.Uint32 // the events alone, for the callback
	data   uint64
	entry  wait.Entry
	queued bool // on the ready list
	gone   bool
}

// Event is struct epoll_event.
type Event struct {
	Events wait.Mask
	Data   uint64
}

// NewEpoll is epoll_create1(2) up to the descriptor.
func NewEpoll(c vfs.Caller) (*vfs.Description, error) {
	return vfs.NewAnonymous(c, "eventpoll", unix.O_RDWR, &Epoll{interests: make(map[interestKey]*interest)})
}

// EpollOf answers the instance behind a description: EINVAL when it is something else.
func EpollOf(d *vfs.Description) (*Epoll, error) {
	if ep, ok := d.File().(*Epoll); ok {
		return ep, nil
	}
	return nil, unix.EINVAL
}

// Register implements wait.Source.
func (ep *Epoll) Register(w *wait.Entry, m wait.Mask) { ep.queue.Register(w, m) }

// Unregister implements wait.Source.
func (ep *Epoll) Unregister(w *wait.Entry) { ep.queue.Unregister(w) }

// Readiness implements vfs.File: readable when a watched file is ready.
func (ep *Epoll) Readiness(*vfs.Description) wait.Mask {
	ep.mu.Lock()
	defer ep.mu.Unlock()
	ep.ready.Lock()
	list := append([]*interest(nil), ep.ready.list...)
	ep.ready.Unlock()
	for _, i := range list {
		if !i.gone && i.readiness() != 0 {
			return wait.In | wait.RdNorm
		}
	}
	return 0
}

// Release implements vfs.File.
func (ep *Epoll) Release(*vfs.Description) {
	ep.mu.Lock()
	defer ep.mu.Unlock()
	for _, i := range ep.interests {
		ep.forget(i)
	}
}

// forget takes an interest out. mu is held.
func (ep *Epoll) forget(i *interest) {
	i.key.d.File().Unregister(&i.entry)
	i.key.d.OnClose(i, nil)
	i.gone = true
	delete(ep.interests, i.key)
	ep.ready.Lock()
	for n, o := range ep.ready.list {
		if o == i {
			ep.ready.list = append(ep.ready.list[:n], ep.ready.list[n+1:]...)
			break
		}
	}
	ep.ready.Unlock()
}

// set changes what is wanted.
func (i *interest) set(events wait.Mask) {
	i.events = events
	i.want.Store(uint32(events &^ flagBits))
}

// readiness answers the wanted events that are true now; none for an interest that is switched off.
func (i *interest) readiness() wait.Mask {
	want := i.events &^ flagBits
	if want == 0 {
		return 0
	}
	return i.key.d.Readiness(want)
}

// enqueue puts i on the ready list and tells the waiters.
func (i *interest) enqueue() {
	ep := i.ep
	ep.ready.Lock()
	queued := i.queued
	if !queued {
		i.queued = true
		ep.ready.list = append(ep.ready.list, i)
	}
	ep.ready.Unlock()
	ep.queue.Notify(wait.In | wait.RdNorm)
}

// Control is epoll_ctl(2). d is the file behind fd; its readiness is watched until it is closed everywhere.
func (ep *Epoll) Control(op int, fd int, d *vfs.Description, e Event) error {
	switch d.Inode().Attributes().Type() {
	case unix.S_IFREG, unix.S_IFDIR:
		return unix.EPERM
	}
	e.Events &^= wakeUp
	if op == unix.EPOLL_CTL_ADD {
		if inner, ok := d.File().(*Epoll); ok {
			if e.Events&exclusive != 0 {
				return unix.EINVAL
			}
			nesting.Lock()
			defer nesting.Unlock()
			if inner.reaches(ep, 0) {
				return unix.ELOOP
			}
		}
		if e.Events&exclusive != 0 && e.Events&^(exclusive|edge|wait.In|wait.Out|wait.Err|wait.Hup) != 0 {
			return unix.EINVAL
		}
	}
	ep.mu.Lock()
	defer ep.mu.Unlock()
	key := interestKey{fd, d}
	i := ep.interests[key]
	switch op {
	case unix.EPOLL_CTL_ADD:
		if i != nil {
			return unix.EEXIST
		}
		i = &interest{ep: ep, key: key, data: e.Data}
		i.set(e.Events | wait.Err | wait.Hup)
		i.entry.Notify = func(ready wait.Mask) {
			if uint32(ready)&i.want.Load() != 0 {
				i.enqueue()
			}
		}
		ep.interests[key] = i
		d.OnClose(i, func() {
			ep.mu.Lock()
			defer ep.mu.Unlock()
			if !i.gone {
				ep.forget(i)
			}
		})
		d.File().Register(&i.entry, ^wait.Mask(0))
	case unix.EPOLL_CTL_MOD:
		if i == nil {
			return unix.ENOENT
		}
		if (i.events|e.Events)&exclusive != 0 {
			return unix.EINVAL
		}
		i.data = e.Data
		i.set(e.Events | wait.Err | wait.Hup)
	case unix.EPOLL_CTL_DEL:
		if i == nil {
			return unix.ENOENT
		}
		ep.forget(i)
		return nil
	default:
		return unix.EINVAL
	}
	if i.readiness() != 0 {
		i.enqueue()
	}
	return nil
}

// reaches reports whether ep watches target, over other instances too, or watches too deep.
func (ep *Epoll) reaches(target *Epoll, depth int) bool {
	if ep == target || depth > maxNesting {
		return true
	}
	ep.mu.Lock()
	var inner []*Epoll
	for key := range ep.interests {
		if e, ok := key.d.File().(*Epoll); ok {
			inner = append(inner, e)
		}
	}
	ep.mu.Unlock()
	for _, e := range inner {
		if e.reaches(target, depth+1) {
			return true
		}
	}
	return false
}

// Collect appends at most n events that are true now. Level-triggered interests stay on the ready list, behind the others.
func (ep *Epoll) Collect(events []Event, n int) []Event {
	ep.mu.Lock()
	defer ep.mu.Unlock()
	ep.ready.Lock()
	list := ep.ready.list
	ep.ready.list = nil
	for _, i := range list {
		i.queued = false
	}
	ep.ready.Unlock()
	again, rest := list[:0], []*interest(nil) // again overwrites what has been looked at
	for k, i := range list {
		if len(events) == n {
			rest = list[k:]
			break
		}
		ready := i.readiness()
		if ready == 0 {
			continue
		}
		events = append(events, Event{ready, i.data})
		switch {
		case i.events&oneShot != 0:
			i.set(i.events & flagBits)
		case i.events&edge == 0:
			again = append(again, i)
		}
	}
	// What is left comes first the next time, then what came meanwhile, then what was reported.
	ep.ready.Lock()
	defer ep.ready.Unlock()
	if len(rest) == 0 && len(ep.ready.list) == 0 {
		clear(list[len(again):])
		for _, i := range again {
			i.queued = true
		}
		ep.ready.list = again
		return events
	}
	merged := make([]*interest, 0, len(rest)+len(ep.ready.list)+len(again))
	put := func(add []*interest, fresh bool) {
		for _, i := range add {
			if fresh || !i.queued {
				i.queued = true
				merged = append(merged, i)
			}
		}
	}
	came := ep.ready.list
	for _, i := range came {
		i.queued = false
	}
	put(rest, false)
	put(came, false)
	put(again, false)
	ep.ready.list = merged
	return events
}

// Wait is epoll_wait(2) that blocks: at most n events, none when the deadline passed. An interruption is EINTR, always.
func (ep *Epoll) Wait(c vfs.Caller, n int, deadline time.Time) (events []Event, err error) {
	err = wait.Block(c, &ep.queue, wait.In, deadline, func() error {
		if events = ep.Collect(nil, n); len(events) > 0 {
			return nil
		}
		return wait.ErrWouldBlock
	})
	switch err {
	case wait.ErrTimedOut:
		return nil, nil
	case wait.ErrRestart:
		return nil, unix.EINTR
	}
	return events, err
}
