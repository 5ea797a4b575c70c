// Package eventfs holds files that only carry events: eventfd(2) and epoll(7).
package eventfs

import (
	"encoding/binary"
	"sync"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/vfs"
	"ringo/guestkernel/wait"
)

// eventfd is a counter.
type eventfd struct {
	vfs.StreamFile
	queue     wait.Queue
	semaphore bool

	mu    sync.Mutex
	count uint64
}

// maxCount is the largest value of the counter.
const maxCount = ^uint64(0) - 1

// NewEventfd is eventfd2(2) up to the descriptor.
func NewEventfd(c vfs.Caller, count uint32, flags uint32) (*vfs.Description, error) {
	if flags&^(unix.EFD_CLOEXEC|unix.EFD_NONBLOCK|unix.EFD_SEMAPHORE) != 0 {
		return nil, unix.EINVAL
	}
	e := &eventfd{count: uint64(count), semaphore: flags&unix.EFD_SEMAPHORE != 0}
	return vfs.NewAnonymous(c, "eventfd", unix.O_RDWR|flags&unix.EFD_NONBLOCK, e)
}

// Register implements wait.Source.
func (e *eventfd) Register(w *wait.Entry, m wait.Mask) { e.queue.Register(w, m) }

// Unregister implements wait.Source.
func (e *eventfd) Unregister(w *wait.Entry) { e.queue.Unregister(w) }

// Readiness implements vfs.File.
func (e *eventfd) Readiness(*vfs.Description) (m wait.Mask) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.count > 0 {
		m |= wait.In
	}
	if e.count < maxCount {
		m |= wait.Out
	}
	return m
}

// Read implements vfs.File.
func (e *eventfd) Read(_ vfs.Caller, _ *vfs.Description, dst vfs.Buffer, _ *int64) (int, error) {
	if dst.Len() < 8 {
		return 0, unix.EINVAL
	}
	e.mu.Lock()
	if e.count == 0 {
		e.mu.Unlock()
		return 0, wait.ErrWouldBlock
	}
	n := e.count
	if e.semaphore {
		n = 1
	}
	e.count -= n
	e.mu.Unlock()
	e.queue.Notify(wait.Out)
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], n)
	return dst.CopyOut(0, b[:])
}

// Write implements vfs.File.
func (e *eventfd) Write(_ vfs.Caller, _ *vfs.Description, src vfs.Buffer, _ *int64) (int, error) {
	if src.Len() < 8 {
		return 0, unix.EINVAL
	}
	var b [8]byte
	if _, err := src.CopyIn(0, b[:]); err != nil {
		return 0, err
	}
	n := binary.LittleEndian.Uint64(b[:])
	if n > maxCount {
		return 0, unix.EINVAL
	}
	e.mu.Lock()
	if maxCount-e.count < n {
		e.mu.Unlock()
		return 0, wait.ErrWouldBlock
	}
	e.count += n
	e.mu.Unlock()
	e.queue.Notify(wait.In)
	return 8, nil
}
