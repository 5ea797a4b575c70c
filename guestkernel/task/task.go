package task

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/ipc"
	"ringo/guestkernel/mm"
	"ringo/guestkernel/trace"
	"ringo/guestkernel/vfs"
)

// Task is one thread.
type Task struct {
	k     *Kernel
	group *Group
	ctx   Context

	// Owned by the task.
	space      *mm.Space
	buffer     mm.Buffer
	identified struct { // of what the CPU was told last
		creds *vfs.Creds
		tid   int
	}
	fs            *vfs.FSContext
	fds           *vfs.FDTable
	exe           vfs.Path
	clearChildTID uint64
	robustList    uint64
	restart       error // the restart error that the last call ended with
	restartCall   func() (uint64, error)
	savedMask     *SigSet // to be restored unless a handler runs (sigsuspend, ppoll)
	alt           altStack
	room          []byte // see signalRoom
	timer         *time.Timer
	lastFault     fault
	faultSignal   int  // signal that lastFault belongs to
	forced        bool // the signal that is pending cannot be survived
	exiting       bool // leaves its loop at the next turn
	exitCode      int  // wait status
	waiter        futexWaiter
	undo          *ipc.Undo   // nil: no SEM_UNDO yet
	result        *uint64     // ctx.Result, while run runs
	slot          *trace.Slot // entry in the debug window, or nil
	rseq          rseq
	counted       bool   // in Kernel.realtime
	yields        uint   // calls of Yield
	applied       uint64 // affinity that ctx knows

	namespaces atomic.Pointer[Namespaces] // nil: it has left
	own        int                        // its number in the PID namespace that it was born in; changed by execve only

	creds       atomic.Pointer[vfs.Creds]
	view        atomic.Pointer[View]
	ipc         atomic.Pointer[ipc.Namespace]
	comm        atomic.Pointer[string]
	cpu         cpuClock
	system      systemTime
	state       atomic.Int32 // State
	pdeath      atomic.Int32 // PR_SET_PDEATHSIG
	slack       atomic.Uint64
	noNew       atomic.Bool // PR_SET_NO_NEW_PRIVS
	nice        atomic.Int32
	affinity    atomic.Uint64 // 0: all CPUs
	policy      atomic.Int32
	rtprio      atomic.Int32 // of SCHED_FIFO and SCHED_RR, else 0
	resets      atomic.Bool  // SCHED_RESET_ON_FORK
	ioprio      atomic.Int32
	personality atomic.Uint32
	switches    atomic.Uint64

	work      atomic.Bool   // signals or exits wait to be looked at before user mode
	interrupt chan struct{} // ends Sleep when work was set

	preempted atomic.Uint64

	locks map[*piLock]struct{} // it owns and others wait for; guarded by futexTable.owners

	// Guarded by Kernel.mu.
	shown      split
	tid        int
	mask       SigSet
	pending    pending
	waitingFor SigSet // sigtimedwait: blocked signals that wake the task all the same
	killed     bool   // SIGKILL, or a sibling's exec or exit_group
	stoppedIn  bool   // counted in group.stopped
	frozen     bool   // by its cgroup
	dead       bool
	vforkDone  chan struct{} // closed when exec or exit lets the parent go on
}

// State is what /proc/PID/stat says about a task.
type State int32

// States.
const (
	StateRunning State = iota
	StateSleeping
	StateStopped
	StateZombie
)

func (k *Kernel) newTask(g *Group, ctx Context) *Task {
	t := &Task{k: k, group: g, ctx: ctx, interrupt: make(chan struct{}, 1)}
	t.cpu.init()
	name := ""
	t.comm.Store(&name)
	return t
}

// Kernel is the kernel the task belongs to.
func (t *Task) Kernel() *Kernel { return t.k }

// Slot is the task's entry in the debug window, nil if there is none.
func (t *Task) Slot() *trace.Slot { return t.slot }

// Group is the task's process.
func (t *Task) Group() *Group { return t.group }

// TID is the thread's number for the kernel, OwnTID for itself.
func (t *Task) TID() int { return t.tid }

// OwnTID is the thread's number in the PID namespace that it was born in.
func (t *Task) OwnTID() int { return t.own }

// Space is the address space; only the task's own goroutine may use it for long.
func (t *Task) Space() *mm.Space { return t.space }

// Context is the CPU state, for the task's own goroutine.
func (t *Task) Context() Context { return t.ctx }

// Comm is the name of the thread (prctl PR_SET_NAME).
func (t *Task) Comm() string { return *t.comm.Load() }

// SetComm sets the name, cut to 15 bytes.
func (t *Task) SetComm(name string) {
	if len(name) > 15 {
		name = name[:15]
	}
	t.comm.Store(&name)
	t.slot.SetComm(name)
}

// SetClearChildTID is set_tid_address(2).
func (t *Task) SetClearChildTID(addr uint64) { t.clearChildTID = addr }

// ClearChildTID is what SetClearChildTID stored.
func (t *Task) ClearChildTID() uint64 { return t.clearChildTID }

// TimerSlack is prctl(PR_GET_TIMERSLACK) in ns: told and inherited, nothing more.
func (t *Task) TimerSlack() uint64 {
	if v := t.slack.Load(); v != 0 {
		return v
	}
	return DefaultTimerSlack
}

// DefaultTimerSlack is that of Linux's init, in ns.
const DefaultTimerSlack = 50000

// SetTimerSlack changes it; 0 is the default.
func (t *Task) SetTimerSlack(ns uint64) { t.slack.Store(ns) }

// SetRobustList and RobustList are set_robust_list(2)'s head.
func (t *Task) SetRobustList(head uint64) { t.robustList = head }

// RobustList is the head of the list of robust futexes.
func (t *Task) RobustList() uint64 { return t.robustList }

// SetParentDeathSignal and ParentDeathSignal are prctl(PR_SET_PDEATHSIG).
func (t *Task) SetParentDeathSignal(sig int) { t.pdeath.Store(int32(sig)) }

// ParentDeathSignal is the signal that the parent's death sends, 0 for none.
func (t *Task) ParentDeathSignal() int { return int(t.pdeath.Load()) }

// SetNoNewPrivileges is prctl(PR_SET_NO_NEW_PRIVS): execve never gains privileges again, here and in children.
func (t *Task) SetNoNewPrivileges() { t.noNew.Store(true) }

// NoNewPrivileges says whether that was asked for.
func (t *Task) NoNewPrivileges() bool { return t.noNew.Load() }

// SetCreds replaces the credentials.
func (t *Task) SetCreds(c *vfs.Creds) { t.creds.Store(c) }

// SetRestart registers what restart_syscall(2) does after a call that ended with wait.ErrRestartBlock.
func (t *Task) SetRestart(call func() (uint64, error)) { t.restartCall = call }

// RunRestart is restart_syscall(2).
func (t *Task) RunRestart() (uint64, error) {
	call := t.restartCall
	t.restartCall = nil
	if call == nil {
		return 0, unix.EINTR
	}
	return call()
}
