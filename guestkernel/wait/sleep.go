package wait

import (
	"sync"
	"syscall"
	"time"
)

// Result is how a sleep ended.
type Result int

// Ends of a sleep.
const (
	Woken       Result = iota // the channel was ready
	Interrupted               // a signal is waiting to be delivered
	TimedOut                  // the deadline passed
)

func (r Result) String() string {
	return [...]string{"woken", "interrupted", "timed out"}[r]
}

// Sleeper is whoever can block: a task. Sleep blocks the calling goroutine, which must be the sleeper's own, until c can be received
// from (one value is consumed), the deadline passes (the zero time is no deadline), or a signal is pending. A ready channel wins over
// both others.
type Sleeper interface {
	Sleep(c <-chan struct{}, deadline time.Time) Result
}

// Errors that never reach user mode as they are. The values of the ERESTART family are Linux's (include/linux/errno.h).
var (
	// ErrWouldBlock says that an operation has to wait. The generic layer waits, or answers EAGAIN for O_NONBLOCK.
	ErrWouldBlock error = syscall.Errno(600)
	// ErrRestart (ERESTARTSYS): interrupted; restart when no handler ran or the handler has SA_RESTART, else EINTR.
	ErrRestart error = syscall.Errno(512)
	// ErrRestartNoIntr (ERESTARTNOINTR): restart always.
	ErrRestartNoIntr error = syscall.Errno(513)
	// ErrRestartNoHandler (ERESTARTNOHAND): restart only when no handler ran, else EINTR (poll, select, pause, epoll_wait).
	ErrRestartNoHandler error = syscall.Errno(514)
	// ErrRestartBlock (ERESTART_RESTARTBLOCK): like ErrRestartNoHandler, but through restart_syscall(2) with the time that is left.
	ErrRestartBlock error = syscall.Errno(516)
	// ErrTimedOut is what Block answers when the deadline passed; callers turn it into their own result.
	ErrTimedOut error = syscall.Errno(601)
)

// Waiter is an entry with a channel to sleep on. Get one with NewWaiter, give it back with Release after unregistering it.
type Waiter struct {
	Entry
	// C receives a value when the entry is notified; several notifications before a receive are one value.
	C chan struct{}
}

var waiters = sync.Pool{New: func() any {
	w := &Waiter{C: make(chan struct{}, 1)}
	w.Notify = func(Mask) { w.Wake() }
	return w
}}

// NewWaiter answers an unregistered waiter with an empty channel.
func NewWaiter() *Waiter {
	w := waiters.Get().(*Waiter)
	select {
	case <-w.C:
	default:
	}
	return w
}

// Release gives w back. It must not be registered anywhere.
func (w *Waiter) Release() { waiters.Put(w) }

// Wake makes C ready.
func (w *Waiter) Wake() {
	select {
	case w.C <- struct{}{}:
	default:
	}
}

// Block calls try until it answers anything but ErrWouldBlock and sleeps between the calls until q reports an event of mask. It answers
// ErrRestart when interrupted and ErrTimedOut when the deadline (zero: none) passed.
func Block(s Sleeper, q Source, mask Mask, deadline time.Time, try func() error) error {
	if err := try(); err != ErrWouldBlock {
		return err
	}
	w := NewWaiter()
	q.Register(&w.Entry, mask)
	defer func() {
		q.Unregister(&w.Entry)
		w.Release()
	}()
	for {
		if err := try(); err != ErrWouldBlock {
			return err
		}
		switch s.Sleep(w.C, deadline) {
		case Interrupted:
			return ErrRestart
		case TimedOut:
			// The event may have come with the deadline.
			if err := try(); err != ErrWouldBlock {
				return err
			}
			return ErrTimedOut
		}
	}
}
