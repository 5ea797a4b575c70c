package task

import (
	"golang.org/x/sys/unix"

	"ringo/guestkernel/wait"
)

// stopGroupLocked begins a stop of every thread (do_signal_stop).
func (k *Kernel) stopGroupLocked(g *Group, sig int) {
	if g.stopping || g.exiting {
		return
	}
	g.stopping, g.stopSignal, g.stopped = true, sig, 0
	g.resume = make(chan struct{})
	for _, t := range g.tasks {
		t.notifyLocked()
	}
}

// stopLocked stops the calling task until its process is continued or it is killed. Kernel.mu is released meanwhile.
func (t *Task) stopLocked() {
	k, g := t.k, t.group
	if !t.stoppedIn {
		t.stoppedIn = true
		g.stopped++
		k.stopCompleteLocked(g)
	}
	resume := g.resume
	k.mu.Unlock()
	t.offCPU()
	t.state.Store(int32(StateStopped))
	select {
	case <-resume:
	case <-t.interrupt:
	}
	t.state.Store(int32(StateRunning))
	t.onCPU()
	k.mu.Lock()
	if !g.stopping || t.killed {
		t.stoppedIn = false
	}
}

// stopCompleteLocked tells the parent when the last thread has stopped.
func (k *Kernel) stopCompleteLocked(g *Group) {
	if !g.stopping || g.stopped < len(g.tasks) {
		return
	}
	g.stopNews, g.contNews = true, false
	k.tellParentLocked(g, cldStopped, g.stopSignal)
}

// continueLocked ends a stop (SIGCONT).
func (k *Kernel) continueLocked(g *Group) {
	if !g.stopping {
		return
	}
	complete := g.stopped >= len(g.tasks)
	g.stopping, g.stopNews = false, false
	for _, t := range g.tasks {
		t.stoppedIn = false
	}
	close(g.resume)
	if complete {
		g.contNews = true
		k.tellParentLocked(g, cldContinued, int(unix.SIGCONT))
	}
}

// tellParentLocked sends SIGCHLD for a stop or a continuation and wakes waiters.
func (k *Kernel) tellParentLocked(g *Group, code, status int) {
	p := g.parent
	if p == nil {
		return
	}
	if p.actions.table[unix.SIGCHLD].Flags&saNoCldStop == 0 {
		k.sendLocked(p, nil, childInfo(p, g, int(unix.SIGCHLD), code, status))
	}
	p.childNews.Notify(wait.In)
}

// childInfo is the siginfo of SIGCHLD about g as its parent p sees it.
func childInfo(p, g *Group, sig, code, status int) *Info {
	i := newInfo(sig, code)
	times := g.cpuTimesLocked()
	i.put32(16, uint32(p.pidns.local(g.pid)))
	if g.leader != nil {
		i.put32(20, g.leader.Creds().UID)
	}
	i.put32(24, uint32(status))
	i.put64(32, uint64(times.User.Milliseconds()/10))
	i.put64(40, uint64(times.System.Milliseconds()/10))
	return i
}
