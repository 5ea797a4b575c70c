package eventfs

import (
	"encoding/binary"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/vfs"
	"ringo/guestkernel/wait"
)

// Timer is a timerfd.
type Timer struct {
	vfs.StreamFile
	queue wait.Queue
	// Clock is the clock it was made for (CLOCK_*).
	Clock int

	mu       sync.Mutex
	next     time.Time // of the next expiration; zero: not armed
	interval time.Duration
	ticks    uint64 // expirations not yet read, up to the last look
	timer    *time.Timer
	armed    uint64 // counts settings, so that a late callback is told from the present one
}

// NewTimer is timerfd_create(2) up to the descriptor; flags are of TFD_NONBLOCK.
func NewTimer(c vfs.Caller, clock int, flags uint32) (*vfs.Description, error) {
	return vfs.NewAnonymous(c, "timerfd", unix.O_RDWR|flags, &Timer{Clock: clock})
}

// TimerOf answers the timer behind a description: EINVAL when it is something else.
func TimerOf(d *vfs.Description) (*Timer, error) {
	if t, ok := d.File().(*Timer); ok {
		return t, nil
	}
	return nil, unix.EINVAL
}

// look counts what has expired. mu is held.
func (t *Timer) look() {
	if t.next.IsZero() {
		return
	}
	late := time.Since(t.next)
	if late < 0 {
		return
	}
	if t.interval == 0 {
		t.ticks++
		t.next = time.Time{}
		return
	}
	n := 1 + late/t.interval
	t.ticks += uint64(n)
	t.next = t.next.Add(n * t.interval)
}

// arm has the queue told at the next expiration. mu is held.
func (t *Timer) arm() {
	if t.timer != nil {
		t.timer.Stop()
	}
	t.armed++
	if t.next.IsZero() {
		return
	}
	setting := t.armed
	t.timer = time.AfterFunc(time.Until(t.next), func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.armed != setting {
			return
		}
		t.look()
		t.arm()
		t.queue.Notify(wait.In | wait.RdNorm)
	})
}

// left answers the time to the next expiration; 0 for a timer that is not armed. mu is held.
func (t *Timer) left() time.Duration {
	if t.next.IsZero() {
		return 0
	}
	return max(1, time.Until(t.next))
}

// Get is timerfd_gettime(2).
func (t *Timer) Get() (left, interval time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.look()
	return t.left(), t.interval
}

// Set is timerfd_settime(2): the first expiration is at next (the zero time: never), then every interval. It answers the setting before.
func (t *Timer) Set(next time.Time, interval time.Duration) (left, oldInterval time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.look()
	left, oldInterval = t.left(), t.interval
	t.next, t.interval, t.ticks = next, interval, 0
	t.look()
	t.arm()
	if t.ticks > 0 {
		t.queue.Notify(wait.In | wait.RdNorm)
	}
	return left, oldInterval
}

// Register implements wait.Source.
func (t *Timer) Register(w *wait.Entry, m wait.Mask) { t.queue.Register(w, m) }

// Unregister implements wait.Source.
func (t *Timer) Unregister(w *wait.Entry) { t.queue.Unregister(w) }

// Readiness implements vfs.File.
func (t *Timer) Readiness(*vfs.Description) wait.Mask {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.look(); t.ticks > 0 {
		return wait.In
	}
	return 0
}

// Read implements vfs.File.
func (t *Timer) Read(_ vfs.Caller, _ *vfs.Description, dst vfs.Buffer, _ *int64) (int, error) {
	if dst.Len() < 8 {
		return 0, unix.EINVAL
	}
	t.mu.Lock()
	t.look()
	n := t.ticks
	t.ticks = 0
	t.mu.Unlock()
	if n == 0 {
		return 0, wait.ErrWouldBlock
	}
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], n)
	return dst.CopyOut(0, b[:])
}

// Release implements vfs.File.
func (t *Timer) Release(*vfs.Description) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.next = time.Time{}
	t.arm()
}
