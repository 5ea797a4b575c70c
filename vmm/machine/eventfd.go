package machine

import (
	"encoding/binary"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// EventFD is a host eventfd that a goroutine waits on without holding a thread.
type EventFD struct {
	f  *os.File
	fd int
}

func newEventFD(name string) (*EventFD, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("eventfd for %s: %w", name, err)
	}
	return &EventFD{f: os.NewFile(uintptr(fd), name), fd: fd}, nil
}

// Wait blocks until the event was signalled since the last Wait. After Close it returns
// os.ErrClosed.
func (e *EventFD) Wait() error {
	var b [8]byte
	_, err := e.f.Read(b[:])
	return err
}

// Signal signals the event.
func (e *EventFD) Signal() {
	var b [8]byte
	binary.NativeEndian.PutUint64(b[:], 1)
	// The counter saturates only after 2^64-2 signals nobody took; closed: nobody waits.
	_, _ = e.f.Write(b[:])
}

// Close ends a Wait under way.
func (e *EventFD) Close() error { return e.f.Close() }

// Interrupt raises one edge-triggered guest interrupt.
type Interrupt struct{ e *EventFD }

// Trigger raises the interrupt. Callable from any goroutine, before Close of the machine.
func (i *Interrupt) Trigger() { i.e.Signal() }
