package vfs

import (
	"math"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/wait"
)

// Asynchronous is a file whose events a signal can tell of (O_ASYNC, fcntl(2)): those of AsyncEvents. Of room to write it tells each time
// (pipes) or when somebody has looked for it in vain (sockets).
type Asynchronous interface {
	AsyncEvents() (events wait.Mask, eachRoom bool)
}

// Kinds of owners (F_SETOWN_EX).
const (
	OwnerTID   = 0
	OwnerPID   = 1
	OwnerGroup = 2
)

// Owner is who hears of the events of a description.
type Owner interface {
	// Number is the owner's kind and its number as c's PID namespace knows it, 0 when it is gone.
	Number(c Caller) (kind, id int)
	// Event sends it signal with what happened (POLL_IN and its kind) and the descriptor; 0 is SIGIO without either. It is called with a
	// wait queue's lock held.
	Event(signal int, reason, fd int32)
}

// FindOwner answers the owner of a kind that c calls id; 0 is nobody. Errors: EINVAL, ESRCH.
func FindOwner(c Caller, kind, id int) (Owner, error) {
	f, ok := c.(interface {
		FileOwner(kind, id int) (Owner, error)
	})
	switch {
	case kind < OwnerTID || kind > OwnerGroup || id == math.MinInt32 || !ok:
		return nil, unix.EINVAL
	case id == 0:
		return nil, nil
	}
	return f.FileOwner(kind, id)
}

// asynchrony is what F_SETOWN, F_SETSIG and O_ASYNC set.
type asynchrony struct {
	owner  atomic.Pointer[Owner]
	signal atomic.Int32
	full   atomic.Bool // somebody found no room: the next event of room is told

	eachRoom bool // set before the entry is registered

	mu    sync.Mutex // of what follows; not taken by the callback, which runs with the queue's lock held
	on    bool
	fd    int32
	entry wait.Entry
}

// asynchronous answers the description's settings, made when there are none.
func (d *Description) asynchronous() *asynchrony {
	for {
		if a := d.async.Load(); a != nil {
			return a
		}
		d.async.CompareAndSwap(nil, new(asynchrony))
	}
}

// Owner is F_GETOWN_EX.
func (d *Description) Owner(c Caller) (kind, id int) {
	a := d.async.Load()
	if a == nil {
		return OwnerTID, 0
	}
	if o := a.owner.Load(); o != nil && *o != nil {
		return (*o).Number(c)
	}
	return OwnerTID, 0
}

// SetOwner is F_SETOWN_EX; nil is nobody.
func (d *Description) SetOwner(o Owner) { d.asynchronous().owner.Store(&o) }

// SetOwnerNumber is F_SETOWN: n is a process, negative a process group, 0 nobody. Errors: EINVAL, ESRCH.
func (d *Description) SetOwnerNumber(c Caller, n int) error {
	kind := OwnerPID
	if n < 0 && n != math.MinInt32 {
		kind, n = OwnerGroup, -n
	}
	o, err := FindOwner(c, kind, n)
	if err == nil {
		d.SetOwner(o)
	}
	return err
}

// OwnerNumber is F_GETOWN: negative for a process group.
func (d *Description) OwnerNumber(c Caller) int {
	kind, id := d.Owner(c)
	if kind == OwnerGroup {
		return -id
	}
	return id
}

// EventSignal is F_GETSIG.
func (d *Description) EventSignal() int {
	if a := d.async.Load(); a != nil {
		return int(a.signal.Load())
	}
	return 0
}

// SetEventSignal is F_SETSIG: instead of SIGIO.
func (d *Description) SetEventSignal(sig int) { d.asynchronous().signal.Store(int32(sig)) }

// SetAsync turns O_ASYNC on or off through descriptor fd. The error is ENOTTY for a file that has no events.
func (d *Description) SetAsync(fd int, on bool) error {
	f, ok := d.file.(Asynchronous)
	if !ok {
		return unix.ENOTTY
	}
	if !on && d.async.Load() == nil {
		return nil
	}
	a := d.asynchronous()
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case on && !a.on:
		var events wait.Mask
		events, a.eachRoom = f.AsyncEvents()
		a.fd = int32(fd)
		a.entry.Notify = func(ready wait.Mask) { a.event(ready) }
		d.file.Register(&a.entry, events)
		d.flags.Or(unix.O_ASYNC)
	case !on && a.on:
		d.file.Unregister(&a.entry)
		d.flags.And(^uint32(unix.O_ASYNC))
	}
	a.on = on
	return nil
}

// Reasons (si_code of SIGIO, sigaction(2)).
const (
	pollIn  = 1
	pollOut = 2
	pollErr = 4
	pollPri = 5
	pollHup = 6
)

func (a *asynchrony) event(ready wait.Mask) {
	o := a.owner.Load()
	if o == nil || *o == nil {
		return
	}
	var reason int32
	switch {
	case ready&wait.Hup != 0:
		reason = pollHup
	case ready&wait.Err != 0:
		reason = pollErr
	case ready&wait.Pri != 0 && ready&wait.In == 0:
		reason = pollPri
	case ready&(wait.In|wait.RdNorm|wait.RdHup) != 0:
		reason = pollIn
	case a.full.Swap(false) || a.eachRoom:
		reason = pollOut
	default:
		return
	}
	(*o).Event(int(a.signal.Load()), reason, a.fd)
}

// sawFull remembers that there was no room to write.
func (d *Description) sawFull() {
	if a := d.async.Load(); a != nil {
		a.full.Store(true)
	}
}
