// Package vfstest has a caller and a file tree for tests that run on the host.
package vfstest

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/vfs"
	"ringo/guestkernel/wait"
)

// Caller is a vfs.Caller whose "user memory" is the slice Memory, at addresses from 0x1000 on.
type Caller struct {
	*vfs.KernelCaller
	Credentials *vfs.Creds
	Memory      []byte
	Limits      map[int]uint64
	Interrupt   chan struct{} // ends a Sleep

	Process, Group, Session int
	Stopped                 map[unix.Signal]bool // blocked or ignored
	InOrphanedGroup         bool

	mu      sync.Mutex
	signals []unix.Signal
}

// MemoryBase is the user address of Memory[0].
const MemoryBase = 0x1000

// NewCaller answers a privileged caller at root with umask 022.
func NewCaller(root vfs.Path) *Caller {
	c := &Caller{KernelCaller: vfs.NewKernelCaller(root), Credentials: vfs.RootCreds(), Memory: make([]byte, 64<<10), Interrupt: make(chan struct{}, 1), Process: 100, Group: 100, Session: 100}
	c.FS().SetUmask(0o022)
	return c
}

// Creds implements vfs.Caller.
func (c *Caller) Creds() *vfs.Creds { return c.Credentials }

// Sleep implements vfs.Caller.
func (c *Caller) Sleep(ch <-chan struct{}, deadline time.Time) wait.Result {
	select {
	case <-ch:
		return wait.Woken
	default:
	}
	var timeout <-chan time.Time
	if !deadline.IsZero() {
		timer := time.NewTimer(time.Until(deadline))
		defer timer.Stop()
		timeout = timer.C
	}
	select {
	case <-ch:
		return wait.Woken
	case <-c.Interrupt:
		return wait.Interrupted
	case <-timeout:
		return wait.TimedOut
	}
}

func (c *Caller) memory(addr uint64, n int) ([]byte, error) {
	if addr < MemoryBase || addr-MemoryBase > uint64(len(c.Memory)) || uint64(n) > uint64(len(c.Memory))-(addr-MemoryBase) {
		return nil, unix.EFAULT
	}
	return c.Memory[addr-MemoryBase:][:n], nil
}

// CopyInUser implements vfs.Caller.
func (c *Caller) CopyInUser(addr uint64, dst []byte) error {
	m, err := c.memory(addr, len(dst))
	copy(dst, m)
	return err
}

// CopyOutUser implements vfs.Caller.
func (c *Caller) CopyOutUser(addr uint64, src []byte) error {
	m, err := c.memory(addr, len(src))
	copy(m, src)
	return err
}

// Rlimit implements vfs.Caller.
func (c *Caller) Rlimit(resource int) uint64 {
	if v, ok := c.Limits[resource]; ok {
		return v
	}
	return vfs.RlimInfinity
}

// Signal implements vfs.Caller: it records.
func (c *Caller) Signal(sig unix.Signal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.signals = append(c.signals, sig)
}

// Signals answers the signals sent so far and forgets them.
func (c *Caller) Signals() []unix.Signal {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.signals
	c.signals = nil
	return s
}

// PID implements vfs.Caller.
func (c *Caller) PID() int { return c.Process }

// PGID implements vfs.Caller.
func (c *Caller) PGID() int { return c.Group }

// SID implements vfs.Caller.
func (c *Caller) SID() int { return c.Session }

// SignalStopped implements vfs.Caller.
func (c *Caller) SignalStopped(sig unix.Signal) bool { return c.Stopped[sig] }

// Orphaned implements vfs.Caller.
func (c *Caller) Orphaned() bool { return c.InOrphanedGroup }

var _ vfs.Caller = (*Caller)(nil)

// Faulty is a Buffer of Len bytes of which only the first Good can be reached.
type Faulty struct {
	vfs.Bytes
	Good int
}

// CopyOut implements vfs.Buffer.
func (f Faulty) CopyOut(off int, src []byte) (int, error) {
	n := copy(f.Bytes[min(off, f.Good):f.Good], src)
	if n < len(src) {
		return n, unix.EFAULT
	}
	return n, nil
}

// CopyIn implements vfs.Buffer.
func (f Faulty) CopyIn(off int, dst []byte) (int, error) {
	n := copy(dst, f.Bytes[min(off, f.Good):f.Good])
	if n < len(dst) {
		return n, unix.EFAULT
	}
	return n, nil
}
