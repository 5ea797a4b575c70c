package task

import (
	"slices"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/wait"
)

// Exit is exit(2): the calling thread ends.
func (t *Task) Exit(code int) error {
	t.exitCode = code & 0xff << 8
	t.exiting = true
	return ErrNoReturn
}

// ExitGroup is exit_group(2): the process ends.
func (t *Task) ExitGroup(code int) error {
	k, g := t.k, t.group
	k.mu.Lock()
	defer k.mu.Unlock()
	if !g.exiting {
		g.exiting, g.exitCode = true, code&0xff<<8
	}
	for _, s := range g.tasks {
		if s != t {
			s.killed = true
			s.notifyLocked()
		}
	}
	t.exiting = true
	return ErrNoReturn
}

// leave ends the task: it gives back what it holds, in Linux's order (do_exit), and tells the parent.
func (t *Task) leave() {
	k, g := t.k, t.group
	t.view.Store(nil)
	t.leaveSpace()
	t.leaveIPC()
	t.fds.Leave()
	t.fs.Leave()
	t.namespaces.Swap(nil).drop()
	if t.timer != nil {
		t.timer.Stop()
	}
	t.offCPU()

	k.mu.Lock()
	t.dead = true
	t.state.Store(int32(StateZombie))
	g.exitedLocked(t)
	for i, s := range g.tasks {
		if s == t {
			g.tasks = append(g.tasks[:i], g.tasks[i+1:]...)
			break
		}
	}
	if t.tid != g.pid {
		delete(k.tasks, t.tid)
		k.dropNumberLocked(t.tid, g.pidns)
		g.unreaped--
		g.cgroup.chargeLocked(-1, true)
	}
	if g.thaw != nil {
		g.cgroup.frozenNewsLocked()
	}
	g.exits.Notify(wait.In)
	if len(g.tasks) == 0 && g.unkillable() {
		k.endNamespaceLocked(g)
	}
	if len(g.tasks) == 0 && !g.exiting {
		g.exitCode = t.exitCode // the last thread's counts (synchronize_group_exit)
	}
	// Signals of the process that only this thread would have taken go to another one.
	for left := g.pending.set &^ t.mask; left != 0 && len(g.tasks) > 0; {
		sig := left.next()
		left &^= 1 << (sig - 1)
		k.retargetLocked(g, sig)
	}
	endedSession := 0
	switch {
	case len(g.tasks) == 0:
		if s := g.pgroup.session; s.leader == g {
			endedSession = s.id
		}
		k.groupEndedLocked(g)
	case len(g.tasks) == 1 && g.execing == g.tasks[0]:
		close(g.execAlone)
	default:
		k.stopCompleteLocked(g)
	}
	k.mu.Unlock()
	if endedSession != 0 && k.SessionEnded != nil {
		k.SessionEnded(endedSession)
	}
	if t.k.Inject != nil {
		t.k.Inject.Ended(t)
	}
	t.slot.Close(t.exitCode)
	t.ctx.Release()
	k.live.Add(-1)
	k.idle.Notify(wait.In)
}

// leaveSpace lets go of the address space: threads that wait for this one learn of it (mm_release).
func (t *Task) leaveSpace() {
	if t.space == nil {
		return
	}
	t.leaveFutexes()
	u := t.space.Usage()
	t.k.mu.Lock()
	t.group.maxRSS = max(t.group.maxRSS, u.PeakResident)
	vfork := t.vforkDone
	t.vforkDone = nil
	t.k.mu.Unlock()
	t.space.Release()
	t.space = nil
	if vfork != nil {
		close(vfork)
	}
}

// leaveFutexes marks robust futexes that the task holds and clears its tid word.
func (t *Task) leaveFutexes() {
	t.exitRobustList()
	t.exitLocks()
	if t.clearChildTID != 0 {
		if t.space.Users() > 1 {
			var zero [4]byte
			if t.CopyOutUser(t.clearChildTID, zero[:]) == nil {
				t.FutexWake(t.clearChildTID, false, 1, ^uint32(0))
			}
		}
		t.clearChildTID = 0
	}
}

// groupEndedLocked makes g a zombie, finds new parents for its children and tells its own.
func (k *Kernel) groupEndedLocked(g *Group) {
	g.zombie = true
	g.stopping = false
	if g.realTimer != nil {
		g.realTimer.Stop()
	}
	g.deleteTimersLocked()
	k.hangupIfOrphanedLocked(g.pgroup, g.parent, g)
	for _, child := range g.children {
		k.adoptLocked(child, g)
	}
	g.children = nil
	if g.ended != nil {
		close(g.ended)
	}
	g.cgroup.populateLocked(-1)
	g.exits.Notify(wait.In)
	k.tellOfEndLocked(g)
}

// tellOfEndLocked tells the parent of a zombie, and reaps it if the parent does not care (do_notify_parent).
func (k *Kernel) tellOfEndLocked(g *Group) {
	p := g.parent
	act := p.actions.table[unix.SIGCHLD]
	reap := p == k.init || g.exitSignal == unix.SIGCHLD && (act.Handler == sigIgn || act.Flags&saNoCldWait != 0)
	if p != k.init && g.exitSignal != 0 && !(g.exitSignal == unix.SIGCHLD && act.Handler == sigIgn) {
		code, status := exitNews(g.exitCode)
		k.sendLocked(p, nil, childInfo(p, g, int(g.exitSignal), code, status))
	}
	if reap {
		k.reapLocked(g)
	}
	p.childNews.Notify(wait.In)
}

// exitNews splits a wait status into si_code and si_status.
func exitNews(status int) (code, value int) {
	if sig := status & 0x7f; sig != 0 {
		return cldKilled, sig
	}
	return cldExited, status >> 8
}

// adoptLocked gives a child of a process that ends to the nearest subreaper of its PID namespace, else to the namespace's init.
func (k *Kernel) adoptLocked(child, old *Group) {
	parent := k.reaperLocked(old)
	for a := old.parent; a != nil && a != k.init && a.pidns == old.pidns; a = a.parent {
		if a.subreaper && !a.zombie && len(a.tasks) > 0 {
			parent = a
			break
		}
	}
	child.parent = parent
	child.exitSignal = unix.SIGCHLD
	parent.children = append(parent.children, child)
	for _, t := range child.tasks {
		if sig := t.ParentDeathSignal(); sig != 0 {
			k.sendLocked(child, t, kernelInfo(sig))
		}
	}
	if child.zombie {
		k.tellOfEndLocked(child)
		return
	}
	k.hangupIfOrphanedLocked(child.pgroup, old, nil)
}

// reapLocked removes a zombie.
func (k *Kernel) reapLocked(g *Group) {
	p := g.parent
	p.children = slices.DeleteFunc(p.children, func(c *Group) bool { return c == g })
	delete(k.groups, g.pid)
	if t := k.tasks[g.pid]; t != nil && t.group == g {
		delete(k.tasks, g.pid)
	}
	k.leaveProcessGroupLocked(g, g.pgroup)
	if s := k.sessions[g.pid]; s != nil && s.leader == g {
		s.leader = nil
	}
	k.dropNumberLocked(g.pid, g.pidns)
	g.reaped = true
	delete(g.cgroup.members, g)
	g.cgroup.chargeLocked(-g.unreaped, true)
	g.pidns.reapedLocked()
	g.exits.Notify(wait.In)
}
