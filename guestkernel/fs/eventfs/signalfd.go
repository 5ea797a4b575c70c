package eventfs

import (
	"encoding/binary"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/task"
	"ringo/guestkernel/vfs"
	"ringo/guestkernel/wait"
)

// signalFD is a signalfd: whoever reads it takes its own pending signals. Readiness, which is asked for without a task, is that of the task that
// made it.
type signalFD struct {
	vfs.StreamFile
	set   atomic.Uint64
	owner *task.Task
}

// SignalFD is signalfd4(2) up to the descriptor: with d it changes the set of that one and answers nil.
func SignalFD(t *task.Task, d *vfs.Description, set task.SigSet, flags uint32) (*vfs.Description, error) {
	set &^= task.Unblockable
	if d != nil {
		s, ok := d.File().(*signalFD)
		if !ok {
			return nil, unix.EINVAL
		}
		s.set.Store(uint64(set))
		t.Group().SignalNews().Notify(wait.In)
		return nil, nil
	}
	s := &signalFD{owner: t}
	s.set.Store(uint64(set))
	return vfs.NewAnonymous(t, "signalfd", unix.O_RDWR|flags, s)
}

// Register implements wait.Source.
func (s *signalFD) Register(w *wait.Entry, m wait.Mask) {
	s.owner.Group().SignalNews().Register(w, m)
}

// Unregister implements wait.Source.
func (s *signalFD) Unregister(w *wait.Entry) { s.owner.Group().SignalNews().Unregister(w) }

// Readiness implements vfs.File.
func (s *signalFD) Readiness(*vfs.Description) wait.Mask {
	if s.owner.HasPending(task.SigSet(s.set.Load())) {
		return wait.In
	}
	return 0
}

// signalInfoSize is the size of struct signalfd_siginfo.
const signalInfoSize = 128

// Read implements vfs.File.
func (s *signalFD) Read(c vfs.Caller, _ *vfs.Description, dst vfs.Buffer, _ *int64) (int, error) {
	if dst.Len() < signalInfoSize {
		return 0, unix.EINVAL
	}
	t, ok := c.(*task.Task)
	if !ok {
		return 0, unix.EINVAL
	}
	done := 0
	for done+signalInfoSize <= dst.Len() {
		info := t.TakePending(task.SigSet(s.set.Load()))
		if info == nil {
			break
		}
		if _, err := dst.CopyOut(done, signalInfo(info)); err != nil {
			return done, err
		}
		done += signalInfoSize
	}
	if done == 0 {
		return 0, wait.ErrWouldBlock
	}
	return done, nil
}

// Codes of siginfo that say who sent a signal (sigaction(2)).
const (
	codeKernel = 0x80
	codeTimer  = -2
	codeIO     = -5
)

// signalInfo turns a siginfo into struct signalfd_siginfo (signalfd_copyinfo).
func signalInfo(info *task.Info) []byte {
	le := binary.LittleEndian
	b := make([]byte, signalInfoSize)
	copy(b[:12], info[:12]) // signal, errno, code
	put := func(at int, from int, n int) { copy(b[at:at+n], info[from:from+n]) }
	sig, code := unix.Signal(info.Signal()), info.Code()
	pidUID := func() { put(12, 16, 8) }
	value := func() {
		put(44, 24, 4)
		put(48, 24, 8)
	}
	switch {
	case code > 0 && code < codeKernel && sig == unix.SIGCHLD:
		pidUID()
		put(40, 24, 4)
		put(56, 32, 16)
	case code > 0 && code < codeKernel && sig == unix.SIGIO, code == codeIO:
		put(28, 16, 4)
		put(20, 24, 4)
	case code > 0 && code < codeKernel:
		put(72, 16, 8)
	case code == codeTimer:
		put(24, 16, 4)
		put(32, 20, 4)
		value()
	case code < 0:
		pidUID()
		value()
	default:
		pidUID()
	}
	if le.Uint32(b) == 0 {
		le.PutUint32(b, uint32(sig))
	}
	return b
}
