package task

import (
	"golang.org/x/sys/unix"

	"ringo/guestkernel/mm"
	"ringo/guestkernel/vfs"
)

var _ vfs.Caller = (*Task)(nil)

// Creds are the task's credentials.
func (t *Task) Creds() *vfs.Creds { return t.creds.Load() }

// FS is the task's root, working directory and umask.
func (t *Task) FS() *vfs.FSContext { return t.fs }

// FDs is the task's descriptor table.
func (t *Task) FDs() *vfs.FDTable { return t.fds }

// UnshareFDs gives the task a copy of its descriptor table when others share it.
func (t *Task) UnshareFDs() {
	if t.fds.Shared() {
		old := t.fds
		t.fds = old.Fork()
		t.publishView()
		old.Leave()
	}
}

// Rlimit is the soft limit of a resource.
func (t *Task) Rlimit(resource int) uint64 {
	cur, _ := t.group.Limit(resource)
	return cur
}

// Signal sends sig to the calling thread, as from the kernel.
func (t *Task) Signal(sig unix.Signal) {
	t.k.mu.Lock()
	defer t.k.mu.Unlock()
	t.k.sendLocked(t.group, t, kernelInfo(int(sig)))
}

// PID is the process's number for the kernel, OwnPID for itself.
func (t *Task) PID() int { return t.group.pid }

// OwnPID is the process's number in the PID namespace that it was born in.
func (t *Task) OwnPID() int { return t.group.own }

// PGID is the number of the process group.
func (t *Task) PGID() int {
	t.k.mu.Lock()
	defer t.k.mu.Unlock()
	return t.group.pgroup.id
}

// SID is the number of the session.
func (t *Task) SID() int {
	t.k.mu.Lock()
	defer t.k.mu.Unlock()
	return t.group.pgroup.session.id
}

// SignalStopped reports whether sig is blocked or ignored by the caller.
func (t *Task) SignalStopped(sig unix.Signal) bool {
	t.k.mu.Lock()
	defer t.k.mu.Unlock()
	return t.mask.Has(int(sig)) || t.group.actions.table[sig].Handler == sigIgn
}

// Orphaned reports whether the task's process group is orphaned.
func (t *Task) Orphaned() bool {
	t.k.mu.Lock()
	defer t.k.mu.Unlock()
	return t.k.orphanedLocked(t.group.pgroup, nil)
}

// CopyInUser reads len(dst) bytes of user memory. The error is EFAULT.
func (t *Task) CopyInUser(addr uint64, dst []byte) error {
	_, err := t.space.CopyIn(addr, dst)
	return err
}

// CopyOutUser writes src to user memory. The error is EFAULT.
func (t *Task) CopyOutUser(addr uint64, src []byte) error {
	_, err := t.space.CopyOut(addr, src)
	return err
}

// CopyInPath reads a path name. Errors: EFAULT, ENAMETOOLONG.
func (t *Task) CopyInPath(addr uint64) (string, error) {
	return t.space.CopyInString(addr, unix.PathMax-1)
}

// Buffer is n bytes of the task's memory at addr, for the file layer. There is one such buffer at a time, until the next call of Buffer: a
// system call transfers to or from one place. Only the task itself may ask.
func (t *Task) Buffer(addr uint64, n int) *mm.Buffer {
	t.buffer.Set(t.space, addr, n)
	return &t.buffer
}

// VecBuffer is Buffer over an iovec of count entries at addr. Errors: EINVAL (count, a negative length or too large a
// sum), EFAULT.
func (t *Task) VecBuffer(addr uint64, count int) (*mm.Buffer, error) {
	if count < 0 || count > 1024 {
		return nil, unix.EINVAL
	}
	var few [16 * 8]byte
	raw := few[:]
	if count > 8 {
		raw = make([]byte, 16*count)
	}
	raw = raw[:16*count]
	if err := t.CopyInUser(addr, raw); err != nil {
		return nil, err
	}
	b := &t.buffer
	b.Reset(t.space)
	total := uint64(0)
	for i := range count {
		base, n := load64(raw[16*i:]), load64(raw[16*i+8:])
		if n > 1<<63-1 {
			return nil, unix.EINVAL
		}
		if base >= mm.UserTop && n > 0 || n > 0 && base+n > mm.UserTop {
			return nil, unix.EFAULT
		}
		total += n
		if total > 1<<63-1 {
			return nil, unix.EINVAL
		}
		b.Add(mm.Range{Addr: base, Len: int(n)})
	}
	return b, nil
}
