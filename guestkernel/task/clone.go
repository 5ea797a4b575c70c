package task

import (
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/vfs"
	"ringo/guestkernel/wait"
)

// CloneArgs are clone3(2)'s.
type CloneArgs struct {
	Flags      uint64
	PIDFD      uint64 // where CLONE_PIDFD stores the descriptor
	ChildTID   uint64
	ParentTID  uint64
	ExitSignal uint64
	Stack      uint64 // initial stack pointer; 0: the parent's
	TLS        uint64
	SetTID     []int   // wanted numbers, in the child's PID namespace and upwards
	Cgroup     *Cgroup // CLONE_INTO_CGROUP
}

// CLONE_CLEAR_SIGHAND is clone3 only.
const cloneClearSighand = 0x100000000

// check refuses combinations of flags that make no sense (copy_process). The error is EINVAL.
func (t *Task) checkClone(a CloneArgs) error {
	f := a.Flags
	has := func(bits uint64) bool { return f&bits == bits }
	kids := t.namespaces.Load().PIDKids
	switch {
	case has(unix.CLONE_SIGHAND) && !has(unix.CLONE_VM),
		has(unix.CLONE_THREAD) && !has(unix.CLONE_SIGHAND),
		has(cloneClearSighand | unix.CLONE_SIGHAND),
		has(unix.CLONE_NEWNS | unix.CLONE_FS),
		has(unix.CLONE_NEWUSER | unix.CLONE_FS),
		has(unix.CLONE_NEWIPC | unix.CLONE_SYSVSEM),
		has(unix.CLONE_THREAD) && (f&(unix.CLONE_NEWUSER|unix.CLONE_NEWPID) != 0 || kids != t.group.pidns),
		has(unix.CLONE_PARENT) && t.group.unkillable(),
		has(unix.CLONE_PIDFD | unix.CLONE_DETACHED),
		f&noNamespace != 0,
		a.ExitSignal > NumSignals:
		return unix.EINVAL
	}
	return nil
}

// Clone makes a task (clone(2), clone3(2), fork(2), vfork(2)) and answers its tid as the caller sees it. With CLONE_VFORK it returns when the
// child has let go of the address space. Errors: EINVAL, EAGAIN, ENOMEM, EPERM, ENOSPC, EMFILE, EFAULT, EEXIST, EBUSY.
func (t *Task) Clone(a CloneArgs) (int, error) {
	if err := t.checkClone(a); err != nil {
		return 0, err
	}
	f := a.Flags
	k, g := t.k, t.group
	creds := t.Creds()
	if f&unix.CLONE_NEWUSER != 0 {
		c, err := t.newUserNamespace()
		if err != nil {
			return 0, err
		}
		creds = c
	}
	if err := t.mayFork(creds); err != nil {
		return 0, err
	}
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
		cg = &Group{k: k, pidns: t.namespaces.Load().PIDKids, exitSignal: unix.Signal(a.ExitSignal), started: time.Now()}
		cg.limits.copyFrom(&g.limits)
		if soft, _ := cg.Limit(unix.RLIMIT_CPU); soft != vfs.RlimInfinity {
			cg.LimitCPUTime()
		}
		cg.undumpable = !g.Dumpable()
		k.mu.Lock()
		cg.barriers = g.barriers
		k.mu.Unlock()
	}
	c := k.newTask(cg, ctx)
	c.exe = t.exe
	c.comm.Store(t.comm.Load())
	c.creds.Store(creds)
	c.noNew.Store(t.noNew.Load())
	c.slack.Store(t.slack.Load())
	c.affinity.Store(t.affinity.Load())
	c.inheritSchedule(t)
	c.personality.Store(t.personality.Load())
	if f&unix.CLONE_VM == 0 && t.rseq.addr != 0 {
		c.rseq = t.rseq
		c.rseq.cpu, c.rseq.event = -1, true
		ctx.SetAllowed(0)
		c.applied = t.affinity.Load()
	}
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
	pidfd := -1
	undo := func(err error) (int, error) {
		if pidfd >= 0 {
			if d, err := t.fds.Remove(pidfd); err == nil {
				d.Unref()
			}
		}
		if n := c.namespaces.Swap(nil); n != nil {
			n.drop()
		}
		c.leaveIPC()
		c.space.Release()
		c.fds.Leave()
		c.fs.Leave()
		ctx.Release()
		return 0, err
	}
	old := t.namespaces.Load()
	spaces, err := t.newNamespaces(f, creds, c.fs)
	if err != nil {
		return undo(err)
	}
	if spaces == old {
		spaces.hold()
	}
	c.namespaces.Store(spaces)
	if spaces.IPC != old.IPC {
		c.SetIPC(spaces.IPC.Namespace)
	}
	if cg != g {
		cg.pidns = spaces.PIDKids
	}
	if f&unix.CLONE_PIDFD != 0 {
		if pidfd, err = t.installPIDFD(c, f&unix.CLONE_THREAD != 0, a.PIDFD); err != nil {
			return undo(err)
		}
	}
	var vfork chan struct{}
	if f&unix.CLONE_VFORK != 0 {
		vfork = make(chan struct{})
	}

	k.mu.Lock()
	into := g.cgroup
	if a.Cgroup != nil {
		into = a.Cgroup
		switch {
		case into.dead:
			err = unix.ENOENT
		case into.subtree && into.parent != nil:
			err = unix.EBUSY
		}
	}
	tid := 0
	if err == nil {
		err = into.chargeLocked(1, false)
	}
	if err == nil {
		tid, err = k.allocPIDLocked(cg.pidns, a.SetTID)
		if t.killed || g.exiting {
			if err == nil {
				k.forgetNumberLocked(tid, cg.pidns)
			}
			err = wait.ErrRestartNoIntr
		}
		if err != nil {
			into.chargeLocked(-1, true)
		}
	}
	if err != nil {
		k.mu.Unlock()
		return undo(err)
	}
	if cg != g {
		cg.oomAdj, cg.oomAdjLeast = g.oomAdj, g.oomAdjLeast
	}
	c.tid, c.own, c.mask, c.vforkDone = tid, cg.pidns.local(tid), t.mask, vfork
	if cg != g {
		cg.pid, cg.own = tid, c.own
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
		cg.pidns.bornLocked(cg)
		into.enterLocked(cg)
		k.joinProcessGroupLocked(cg, g.pgroup.session, g.pgroup.id)
		k.refreezeLocked(cg)
	}
	if f&unix.CLONE_VM == 0 {
		c.space.SetOwner(tid)
	}
	k.publishLocked(c)
	if g.stopping && cg == g || cg.thaw != nil {
		c.work.Store(true)
	}
	answer := g.pidns.local(tid)
	own := c.own
	k.mu.Unlock()

	var word [4]byte
	if f&unix.CLONE_PARENT_SETTID != 0 {
		binary.LittleEndian.PutUint32(word[:], uint32(answer))
		t.CopyOutUser(a.ParentTID, word[:]) // failures are not reported, as on Linux
	}
	if f&unix.CLONE_CHILD_SETTID != 0 {
		binary.LittleEndian.PutUint32(word[:], uint32(own))
		c.CopyOutUser(a.ChildTID, word[:])
	}
	go c.run()
	if vfork != nil {
		t.sleepKillable(vfork)
	}
	return answer, nil
}

// mayFork checks RLIMIT_NPROC for a new process or thread of the user: EAGAIN.
func (t *Task) mayFork(creds *vfs.Creds) error {
	limit := t.Rlimit(unix.RLIMIT_NPROC)
	if limit == vfs.RlimInfinity || creds.UID == 0 && creds.User == nil || creds.Has(unix.CAP_SYS_RESOURCE) || creds.Has(unix.CAP_SYS_ADMIN) {
		return nil
	}
	k := t.k
	k.mu.Lock()
	defer k.mu.Unlock()
	n := uint64(0)
	for _, o := range k.tasks {
		if o.Creds().UID == creds.UID {
			n++
		}
	}
	if n >= limit {
		return unix.EAGAIN
	}
	return nil
}
