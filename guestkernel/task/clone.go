package task

import (
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/wait"
)

// CloneArgs are clone3(2)'s.
type CloneArgs struct {
	Flags      uint64
	ChildTID   uint64
	ParentTID  uint64
	ExitSignal uint64
	Stack      uint64 // initial stack pointer; 0: the parent's
	TLS        uint64
}

// CLONE_CLEAR_SIGHAND is clone3 only.
const cloneClearSighand = 0x100000000

// Flags that ask for what does not exist here: namespaces, pidfds, cgroups, IO contexts are harmless.
const cloneUnsupported = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWUSER |
	unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_PIDFD | unix.CLONE_INTO_CGROUP | unix.CLONE_NEWTIME

// Clone makes a task (clone(2), clone3(2), fork(2), vfork(2)) and answers its tid. With CLONE_VFORK it returns when the
// child has let go of the address space. Errors: EINVAL, EAGAIN, ENOMEM.
func (t *Task) Clone(a CloneArgs) (int, error) {
	f := a.Flags
	switch {
	case f&unix.CLONE_SIGHAND != 0 && f&unix.CLONE_VM == 0,
		f&unix.CLONE_THREAD != 0 && f&unix.CLONE_SIGHAND == 0,
		f&cloneClearSighand != 0 && f&unix.CLONE_SIGHAND != 0,
		f&cloneUnsupported != 0,
		a.ExitSignal > NumSignals:
		return 0, unix.EINVAL
	}
	k, g := t.k, t.group
	ctx, err := k.Machine.NewContext()
	if err != nil {
		return 0, unix.EAGAIN
	}
	ctx.CopyFrom(t.ctx)
	ctx.SetReturn(0)
	if a.Stack != 0 {
		ctx.SetSP(a.Stack)
	}
	if f&unix.CLONE_SETTLS != 0 {
		ctx.SetTLS(a.TLS)
	}
	cg := g
	if f&unix.CLONE_THREAD == 0 {
		cg = &Group{k: k, exitSignal: unix.Signal(a.ExitSignal), started: time.Now()}
		cg.limits.copyFrom(&g.limits)
		cg.undumpable = !g.Dumpable()
	}
	c := k.newTask(cg, ctx)
	c.exe = t.exe
	c.comm.Store(t.comm.Load())
	c.creds.Store(t.creds.Load())
	c.noNew.Store(t.noNew.Load())
	c.nice.Store(t.nice.Load())
	c.affinity.Store(t.affinity.Load())
	c.policy.Store(t.policy.Load())
	if f&unix.CLONE_VM != 0 {
		t.space.Hold()
		c.space = t.space
	} else if c.space, err = t.space.Fork(); err != nil {
		ctx.Release()
		return 0, unix.ENOMEM
	}
	if f&unix.CLONE_VM == 0 || f&unix.CLONE_VFORK != 0 {
		c.alt = t.alt
	} else {
		c.alt.Flags = ssDisable
	}
	if f&unix.CLONE_FS != 0 {
		c.fs = t.fs.Share()
	} else {
		c.fs = t.fs.Fork()
	}
	if f&unix.CLONE_FILES != 0 {
		c.fds = t.fds.Share()
	} else {
		c.fds = t.fds.Fork()
	}
	if f&unix.CLONE_CHILD_CLEARTID != 0 {
		c.clearChildTID = a.ChildTID
	}
	c.inheritIPC(t, f)
	var vfork chan struct{}
	if f&unix.CLONE_VFORK != 0 {
		vfork = make(chan struct{})
	}

	k.mu.Lock()
	tid, err := k.allocPIDLocked()
	if t.killed || g.exiting {
		err = wait.ErrRestartNoIntr
	}
	if err != nil {
		k.mu.Unlock()
		c.vforkDone = nil
		c.space.Release()
		c.fds.Leave()
		c.fs.Leave()
		c.leaveIPC()
		ctx.Release()
		return 0, err
	}
	c.tid, c.mask, c.vforkDone = tid, t.mask, vfork
	if cg != g {
		cg.pid = tid
		cg.parent = g
		if f&unix.CLONE_PARENT != 0 {
			cg.parent = g.parent
			cg.exitSignal = g.exitSignal
		}
		cg.parent.children = append(cg.parent.children, cg)
		switch {
		case f&unix.CLONE_SIGHAND != 0:
			cg.actions = g.actions
		case f&cloneClearSighand != 0:
			cg.actions = newActions()
			for sig := range cg.actions.table {
				if g.actions.table[sig].Handler == sigIgn {
					cg.actions.table[sig].Handler = sigIgn
				}
			}
		default:
			cg.actions = g.actions.fork()
		}
		k.groups[tid] = cg
		k.joinProcessGroupLocked(cg, g.pgroup.session, g.pgroup.id)
	}
	if f&unix.CLONE_VM == 0 {
		c.space.SetOwner(tid)
	}
	k.publishLocked(c)
	if g.stopping && cg == g {
		c.work.Store(true)
	}
	k.mu.Unlock()

	var word [4]byte
	binary.LittleEndian.PutUint32(word[:], uint32(tid))
	if f&unix.CLONE_PARENT_SETTID != 0 {
		t.CopyOutUser(a.ParentTID, word[:]) // failures are not reported, as on Linux
	}
	if f&unix.CLONE_CHILD_SETTID != 0 {
		c.CopyOutUser(a.ChildTID, word[:])
	}
	go c.run()
	if vfork != nil {
		t.sleepKillable(vfork)
	}
	return tid, nil
}
