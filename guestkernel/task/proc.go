package task

import (
	"time"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/mm"
	"ringo/guestkernel/vfs"
)

// View is what other tasks may look at of a task: /proc/PID. The objects are safe to use from any goroutine, and answer nothing when the task has
// left them.
type View struct {
	Space *mm.Space
	FS    *vfs.FSContext
	FDs   *vfs.FDTable
	Exe   vfs.Path // the program's file
}

// publishView makes the task's present address space, tree and descriptors visible. The task's own goroutine calls it, or whoever made the task.
func (t *Task) publishView() {
	t.view.Store(&View{Space: t.space, FS: t.fs, FDs: t.fds, Exe: t.exe})
}

// View answers nil for a task that is leaving.
func (t *Task) View() *View { return t.view.Load() }

// Status is a process at one moment, for /proc/PID.
type Status struct {
	PID, PPID, PGID, SID int
	Comm                 string
	State                byte // as /proc/PID/stat shows it
	Threads              int
	ExitSignal           int
	ExitCode             int
	Started              time.Time
	CPU, Children        CPUTimes
	Creds                *vfs.Creds
	NoNewPrivs           int
	Seccomp, Filters     int
	Switches             uint64 // times the thread went to sleep

	Pending, Blocked, Ignored, Caught SigSet
	SharedPending                     SigSet
}

// Status answers the state of thread t's process as seen through that thread.
func (t *Task) Status() Status {
	k, g := t.k, t.group
	k.mu.Lock()
	defer k.mu.Unlock()
	s := g.statusLocked()
	s.Comm, s.Creds = t.Comm(), t.Creds()
	s.Switches = t.switches.Load()
	if t.NoNewPrivileges() {
		s.NoNewPrivs = 1
	}
	s.Seccomp, s.Filters = t.SeccompState()
	s.Pending, s.Blocked = t.pending.set, t.mask
	s.State = stateLetter(State(t.state.Load()))
	switch {
	case g.zombie:
		s.State = 'Z'
	case t.stoppedIn:
		s.State = 'T'
	}
	return s
}

// Status answers the state of a process; one without threads is a zombie, or init.
func (g *Group) Status() Status {
	k := g.k
	k.mu.Lock()
	leader := g.leader
	if leader == nil {
		defer k.mu.Unlock()
		s := g.statusLocked()
		s.Comm, s.Creds, s.State, s.Threads = "init", vfs.RootCreds(), 'S', 1
		return s
	}
	k.mu.Unlock()
	return leader.Status()
}

func (g *Group) statusLocked() Status {
	s := Status{
		PID: g.pid, PGID: g.pgroup.id, SID: g.pgroup.session.id, Threads: len(g.tasks), ExitSignal: int(g.exitSignal), ExitCode: g.exitCode,
		Started: g.started, CPU: g.cpuTimesLocked(), Children: g.childTime, SharedPending: g.pending.set,
	}
	if s.Started.IsZero() {
		s.Started = g.k.started
	}
	if g.parent != nil {
		s.PPID = g.parent.pid
	}
	for sig := 1; sig <= NumSignals; sig++ {
		switch g.actions.table[sig].Handler {
		case sigDfl:
		case sigIgn:
			s.Ignored |= Set(unix.Signal(sig))
		default:
			s.Caught |= Set(unix.Signal(sig))
		}
	}
	return s
}

func stateLetter(s State) byte {
	switch s {
	case StateSleeping:
		return 'S'
	case StateStopped:
		return 'T'
	case StateZombie:
		return 'Z'
	}
	return 'R'
}

// Running is the number of tasks that are neither asleep nor stopped.
func (k *Kernel) Running() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := 0
	for _, t := range k.tasks {
		if State(t.state.Load()) == StateRunning && !t.stoppedIn {
			n++
		}
	}
	return n
}

// Children lists the process's children with the kernel's numbers.
func (g *Group) Children() (pids []int) {
	g.k.mu.Lock()
	defer g.k.mu.Unlock()
	for _, c := range g.children {
		pids = append(pids, c.pid)
	}
	return pids
}

// OOMScoreAdj is what the process asked to have added to its badness when memory runs out: -1000 to 1000.
func (g *Group) OOMScoreAdj() int {
	g.k.mu.Lock()
	defer g.k.mu.Unlock()
	return g.oomAdj
}

// SetOOMScoreAdj changes it. The error is EACCES: without privilege it cannot go below what a privileged one set last.
func (g *Group) SetOOMScoreAdj(v int, privileged bool) error {
	g.k.mu.Lock()
	defer g.k.mu.Unlock()
	if v < g.oomAdjLeast && !privileged {
		return unix.EACCES
	}
	g.oomAdj = v
	if privileged {
		g.oomAdjLeast = v
	}
	return nil
}

// NumbersBelow are the numbers of g's thread, group or session n in ns and in the namespaces below that g is in.
func (k *Kernel) NumbersBelow(ns *PIDNamespace, g *Group, n int) []int {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := []int{ns.local(n)}
	for _, below := range g.pidns.path(ns) {
		out = append(out, below.local(n))
	}
	return out
}
