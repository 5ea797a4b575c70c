package vfs

import (
	"time"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/wait"
)

// KernelCaller is the kernel itself as a caller: root, no umask, no limits, no signals, no user memory. One goroutine uses it at a time.
type KernelCaller struct {
	creds *Creds
	fs    *FSContext
	fds   *FDTable
}

// NewKernelCaller answers a caller that sees the tree from root.
func NewKernelCaller(root Path) *KernelCaller {
	k := &KernelCaller{creds: RootCreds(), fs: NewFSContext(root), fds: NewFDTable()}
	k.fs.SetUmask(0)
	return k
}

// Close lets go of the root directory.
func (k *KernelCaller) Close() {
	k.fds.Leave()
	k.fs.Leave()
}

// Sleep implements Caller.
func (k *KernelCaller) Sleep(c <-chan struct{}, deadline time.Time) wait.Result {
	if deadline.IsZero() {
		<-c
		return wait.Woken
	}
	t := time.NewTimer(time.Until(deadline))
	defer t.Stop()
	select {
	case <-c:
		return wait.Woken
	case <-t.C:
		return wait.TimedOut
	}
}

func (k *KernelCaller) CopyInUser(uint64, []byte) error  { return unix.EFAULT }
func (k *KernelCaller) CopyOutUser(uint64, []byte) error { return unix.EFAULT }
func (k *KernelCaller) Creds() *Creds                    { return k.creds }
func (k *KernelCaller) FS() *FSContext                   { return k.fs }
func (k *KernelCaller) FDs() *FDTable                    { return k.fds }
func (k *KernelCaller) Rlimit(int) uint64                { return RlimInfinity }
func (k *KernelCaller) Signal(unix.Signal)               {}
func (k *KernelCaller) PID() int                         { return 0 }
func (k *KernelCaller) PGID() int                        { return 0 }
func (k *KernelCaller) SID() int                         { return 0 }
func (k *KernelCaller) SignalStopped(unix.Signal) bool   { return true }
func (k *KernelCaller) Orphaned() bool                   { return true }

var _ Caller = (*KernelCaller)(nil)
