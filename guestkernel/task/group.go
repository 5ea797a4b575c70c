package task

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/wait"
)

// Group is a thread group: a process.
type Group struct {
	k *Kernel

	childNews wait.Queue // told when a child's state changes

	signalNews wait.Queue // told when a signal becomes pending
	ended      chan struct{}
	limits     limits
	started    time.Time

	pidns *PIDNamespace // that it was born in
	own   int           // its number there
	exits wait.Queue    // told when a thread, the process, or its zombie goes: for pidfds

	// Guarded by Kernel.mu.
	pid      int
	cgroup   *Cgroup
	thaw     chan struct{} // not nil: threads are to freeze until it is closed
	unreaped int           // threads that count in the cgroup
	reaped   bool
	oomAdj   int
	// oomAdjLeast is what a privileged process set last.
	oomAdjLeast int
	actions     *actions
	leader      *Task
	tasks       []*Task
	parent      *Group
	children    []*Group // in the order in which they came
	pgroup      *ProcessGroup
	pending     pending
	exitSignal  unix.Signal
	subreaper   bool
	undumpable  bool // prctl(PR_SET_DUMPABLE, 0)
	execed      bool // has called execve since fork: setpgid by the parent is refused

	exiting   bool // every thread leaves
	exitCode  int  // wait status
	zombie    bool
	execing   *Task         // kills its siblings
	execAlone chan struct{} // closed when execing is the only task

	stopping   bool          // stopped by a signal; every thread stops when it comes by
	stopSignal int           // the signal that did it
	stopped    int           // threads that have stopped
	resume     chan struct{} // closed by SIGCONT or SIGKILL
	stopNews   bool          // wait(WUNTRACED) has not seen the stop
	contNews   bool          // wait(WCONTINUED) has not seen the continuation

	exited, exitedSystem time.Duration // CPU time of threads that have ended
	exitedSwitches       [2]uint64
	shown                split
	childTime            CPUTimes // of children that were waited for
	childMaxRSS          uint64
	maxRSS               uint64
	realTimer            *time.Timer
	realDeadline         time.Time
	realInterval         time.Duration
	cpuTimers            [2]cpuTimer
	watches              map[*cpuWatch]struct{} // on the CPU clocks of the process and its threads
	barriers             int                    // registrations of membarrier(2)
	cpuLimit             *cpuWatch              // RLIMIT_CPU
	timers               map[int]*posixTimer
	nextTimer            int
	cpuTimed             atomic.Bool // there are watches; written with Kernel.mu held
}

// PID is the process's number.
func (g *Group) PID() int { return g.pid }

// Started is when the process was forked.
func (g *Group) Started() time.Time { return g.started }

// Ended is closed when the process has ended; Spawn's processes only.
func (g *Group) Ended() <-chan struct{} { return g.ended }

// ExitStatus is the wait status of a process that has ended.
func (g *Group) ExitStatus() unix.WaitStatus {
	g.k.mu.Lock()
	defer g.k.mu.Unlock()
	return unix.WaitStatus(g.exitCode)
}

// Parent is the number of the parent process as g sees it: 0 for one outside of its PID namespace.
func (g *Group) Parent() int {
	g.k.mu.Lock()
	defer g.k.mu.Unlock()
	if g.parent == nil {
		return 0
	}
	return g.pidns.local(g.parent.pid)
}

// Tasks is a copy of the list of threads.
func (g *Group) Tasks() []*Task {
	g.k.mu.Lock()
	defer g.k.mu.Unlock()
	return append([]*Task(nil), g.tasks...)
}

// MaxRSS is the largest resident size in bytes of the process and of its waited-for children.
func (g *Group) MaxRSS() (own, children uint64) {
	g.k.mu.Lock()
	defer g.k.mu.Unlock()
	return g.maxRSS, g.childMaxRSS
}

// SetSubreaper and Subreaper are prctl(PR_SET_CHILD_SUBREAPER).
func (g *Group) SetSubreaper(on bool) {
	g.k.mu.Lock()
	defer g.k.mu.Unlock()
	g.subreaper = on
}

// Subreaper says whether orphaned descendants are adopted.
func (g *Group) Subreaper() bool {
	g.k.mu.Lock()
	defer g.k.mu.Unlock()
	return g.subreaper
}

// SetDumpable and Dumpable are prctl(PR_SET_DUMPABLE).
func (g *Group) SetDumpable(on bool) {
	g.k.mu.Lock()
	defer g.k.mu.Unlock()
	g.undumpable = !on
}

// Dumpable says whether the process may be looked into by others of its user.
func (g *Group) Dumpable() bool {
	g.k.mu.Lock()
	defer g.k.mu.Unlock()
	return !g.undumpable
}

// ProcessGroup is a job.
type ProcessGroup struct {
	id      int
	session *Session
	members map[*Group]struct{}
	pidns   *PIDNamespace // of the process that it has its number from
}

// Session is a set of process groups with one terminal.
type Session struct {
	id     int
	groups int
	leader *Group
	pidns  *PIDNamespace // of the leader
}

func (k *Kernel) newSessionLocked(leader *Group) *Session {
	id := leader.pid
	s := &Session{id: id, leader: leader, pidns: leader.pidns}
	k.sessions[id] = s
	return s
}

// joinProcessGroupLocked moves g to a process group of a session, making it if it does not exist.
func (k *Kernel) joinProcessGroupLocked(g *Group, s *Session, id int) {
	pg := k.pgroups[id]
	if pg == nil {
		pg = &ProcessGroup{id: id, session: s, members: make(map[*Group]struct{}), pidns: g.pidns}
		k.pgroups[id] = pg
		s.groups++
	}
	old := g.pgroup
	if old == pg {
		return
	}
	pg.members[g] = struct{}{}
	g.pgroup = pg
	k.leaveProcessGroupLocked(g, old)
}

func (k *Kernel) leaveProcessGroupLocked(g *Group, pg *ProcessGroup) {
	if pg == nil {
		return
	}
	delete(pg.members, g)
	if len(pg.members) > 0 {
		return
	}
	delete(k.pgroups, pg.id)
	k.dropNumberLocked(pg.id, pg.pidns)
	if pg.session.groups--; pg.session.groups == 0 {
		delete(k.sessions, pg.session.id)
		k.dropNumberLocked(pg.session.id, pg.session.pidns)
	}
}

// orphanedLocked says whether no member of pg (except without) has its parent in another group of the same
// session (is_orphaned_pgrp).
func (k *Kernel) orphanedLocked(pg *ProcessGroup, without *Group) bool {
	for g := range pg.members {
		if g == without || g.zombie || g.parent == nil || g.parent == k.init {
			continue
		}
		if g.parent.pgroup != pg && g.parent.pgroup.session == pg.session {
			return false
		}
	}
	return true
}

// hangupIfOrphanedLocked sends SIGHUP and SIGCONT to a group that has just been orphaned and has stopped members. It loses the tie to parent, of a member that
// leaves (or, nil, of one that got another parent): when that was no tie, the group has not become an orphan now (kill_orphaned_pgrp).
func (k *Kernel) hangupIfOrphanedLocked(pg *ProcessGroup, parent, leaving *Group) {
	if parent == nil || parent.pgroup == pg || parent.pgroup.session != pg.session || !k.orphanedLocked(pg, leaving) {
		return
	}
	stopped := false
	for g := range pg.members {
		stopped = stopped || g != leaving && g.stopping
	}
	if !stopped {
		return
	}
	for g := range pg.members {
		k.sendLocked(g, nil, kernelInfo(int(unix.SIGHUP)))
		k.sendLocked(g, nil, kernelInfo(int(unix.SIGCONT)))
	}
}

// SetSID is setsid(2): the number is the process's own. The error is EPERM.
func (t *Task) SetSID() (int, error) {
	k, g := t.k, t.group
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.pgroups[g.pid] != nil {
		return 0, unix.EPERM
	}
	k.joinProcessGroupLocked(g, k.newSessionLocked(g), g.pid)
	return g.own, nil
}

// SetPGID is setpgid(2), with the caller's numbers. Errors: EINVAL, ESRCH, EPERM, EACCES.
func (t *Task) SetPGID(pid, pgid int) error {
	k := t.k
	k.mu.Lock()
	defer k.mu.Unlock()
	ns := t.group.pidns
	if pid == 0 {
		pid = t.group.pid
	} else if pid > 0 {
		pid = ns.global(pid)
	}
	if pgid == 0 {
		pgid = pid
	} else if pgid > 0 {
		pgid = ns.global(pgid)
	}
	if pgid < 0 {
		return unix.EINVAL
	}
	g := k.groups[pid]
	switch {
	case g == nil || g != t.group && g.parent != t.group:
		return unix.ESRCH
	case g != t.group && g.pgroup.session != t.group.pgroup.session:
		return unix.EPERM
	case g != t.group && g.execed:
		return unix.EACCES
	case g.pgroup.session.leader == g:
		return unix.EPERM
	}
	if pg := k.pgroups[pgid]; pgid != pid && (pg == nil || pg.session != t.group.pgroup.session) {
		return unix.EPERM
	}
	k.joinProcessGroupLocked(g, g.pgroup.session, pgid)
	return nil
}

// IDsOf answers the process group and session of a process (0: the caller's), with the caller's numbers. The error is ESRCH.
func (t *Task) IDsOf(pid int) (pgid, sid int, err error) {
	k := t.k
	k.mu.Lock()
	defer k.mu.Unlock()
	g := t.group
	if pid != 0 {
		if g = k.groups[t.group.pidns.global(pid)]; g == nil || pid < 0 {
			return 0, 0, unix.ESRCH
		}
	}
	ns := t.group.pidns
	return ns.local(g.pgroup.id), ns.local(g.pgroup.session.id), nil
}

// SessionOf answers the session of a process group, or 0 when there is none such.
func (k *Kernel) SessionOf(pgid int) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	if pg := k.pgroups[pgid]; pg != nil {
		return pg.session.id
	}
	return 0
}
