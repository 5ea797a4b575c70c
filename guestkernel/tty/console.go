package tty

import (
	"sync"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/fs/devtmpfs"
	"ringo/guestkernel/vfs"
	"ringo/guestkernel/wait"
)

// Device numbers (Documentation/admin-guide/devices.txt).
var (
	consoleDev = unix.Mkdev(5, 1)
	ttyDev     = unix.Mkdev(5, 0)
	hvc0Dev    = unix.Mkdev(229, 0)
)

// Nodes are the entries of /dev that RegisterConsole has drivers for.
var Nodes = []devtmpfs.Node{
	{Name: "console", Dev: consoleDev, Mode: 0o600},
	{Name: "hvc0", Dev: hvc0Dev, Mode: 0o600},
	{Name: "tty", Dev: ttyDev, Mode: 0o666},
}

// Port is the wire of a console: see virtio/driver/console.
type Port interface {
	TryRead(b []byte) int
	TryWrite(b []byte) int
	Gone() bool
	OnReadable(f func())
	OnWritable(f func())
}

// NewConsole answers the terminal on port. Input is processed as it arrives, on the goroutine that calls the port's callbacks.
func NewConsole(port Port, processes Processes, sessions *Sessions) *Terminal {
	w := &wire{port: port}
	w.t = New(port, processes, sessions, w.pump)
	port.OnReadable(w.pump)
	port.OnWritable(w.t.Writable)
	w.pump()
	return w.t
}

// wire carries input from a port to its terminal.
type wire struct {
	port Port
	t    *Terminal

	mu   sync.Mutex
	buf  [512]byte
	left []byte // read from the port, not yet taken by the terminal
}

// pump moves input for as long as there is some and the terminal takes it.
func (w *wire) pump() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.t.Room() {
		if len(w.left) == 0 {
			n := w.port.TryRead(w.buf[:])
			if n == 0 {
				if w.port.Gone() {
					w.t.Hangup()
				}
				return
			}
			w.left = w.buf[:n]
		}
		w.left = w.left[w.t.Receive(w.left):]
	}
}

// RegisterConsole enters the drivers of /dev/console, /dev/hvc0 and /dev/tty.
func RegisterConsole(devices *vfs.Devices, console *Terminal) {
	for dev, mayControl := range map[uint64]bool{consoleDev: false, hvc0Dev: true} {
		devices.Register(unix.S_IFCHR, dev, func(c vfs.Caller, d *vfs.Description) (vfs.File, error) {
			return console.Open(c, d, mayControl)
		})
	}
	devices.Register(unix.S_IFCHR, ttyDev, func(c vfs.Caller, d *vfs.Description) (vfs.File, error) {
		t := console.sessions.of(c.SID())
		if t == nil || t.hungUp() {
			return nil, unix.ENXIO
		}
		return t.Open(c, d, false)
	})
}

// Drain blocks until the line has all output, or is gone; output that was stopped (VSTOP) goes out too. It is for the end of the machine.
func (t *Terminal) Drain() {
	w := wait.NewWaiter()
	defer w.Release()
	t.queue.Register(&w.Entry, wait.Out|wait.Hup)
	defer t.queue.Unregister(&w.Entry)
	for {
		t.mu.Lock()
		t.resumeLocked()
		left := len(t.out)
		t.unlock()
		if left == 0 || t.Gone() {
			return
		}
		<-w.C
	}
}

// Gone reports whether the terminal was hung up.
func (t *Terminal) Gone() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.gone
}
