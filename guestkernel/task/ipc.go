package task

import (
	"golang.org/x/sys/unix"

	"ringo/guestkernel/ipc"
)

// CodeMessage is SI_MESGQ: a message came to a queue.
const CodeMessage = -3

// IPC is the task's IPC namespace.
func (t *Task) IPC() *ipc.Namespace { return t.ipc.Load() }

// SetIPC moves the task to another IPC namespace, whose hold is taken over (setns, unshare). What its SEM_UNDO operations did in the old one is taken
// back. The task's own goroutine calls it.
func (t *Task) SetIPC(n *ipc.Namespace) {
	t.leaveUndo()
	t.ipc.Swap(n).Release()
}

// SemUndo is where SEM_UNDO operations are remembered.
func (t *Task) SemUndo() *ipc.Undo {
	if t.undo == nil {
		t.undo = t.IPC().NewUndo()
	}
	return t.undo
}

// UnshareSemUndo is unshare(CLONE_SYSVSEM).
func (t *Task) UnshareSemUndo() { t.leaveUndo() }

func (t *Task) leaveUndo() {
	if t.undo != nil {
		t.undo.Leave(t.group.pid)
		t.undo = nil
	}
}

// inheritIPC gives a new task its parent's namespace and, with CLONE_SYSVSEM, a share of its undo list.
func (t *Task) inheritIPC(parent *Task, flags uint64) {
	t.ipc.Store(parent.IPC().Hold())
	if flags&unix.CLONE_SYSVSEM != 0 {
		t.undo = parent.SemUndo().Share()
	}
}

// leaveIPC gives up what the task has of IPC.
func (t *Task) leaveIPC() {
	t.leaveUndo()
	t.IPC().Release()
}

// SignalMessage sends the signal of mq_notify(3) to a process, in the name of the sender.
func (k *Kernel) SignalMessage(g *Group, sig int, value uint64, pid int, uid uint32) {
	if sig == 0 {
		return
	}
	i := newInfo(sig, CodeMessage)
	i.put32(16, uint32(k.InNamespace(g.pidns, pid)))
	i.put32(20, uid)
	i.put64(24, value)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.sendLocked(g, nil, i)
}
