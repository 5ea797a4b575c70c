package task

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/ipc"
	"ringo/guestkernel/loader"
	"ringo/guestkernel/mm"
	"ringo/guestkernel/trace"
	"ringo/guestkernel/vfs"
	"ringo/guestkernel/wait"
)

// maxPID is pid_max of a 64-bit Linux.
const maxPID = 4 << 20

// Config is what a Kernel is made of.
type Config struct {
	Machine  Machine
	Memory   *mm.Memory
	Syscalls Syscalls
	Random   mm.Random // safe for concurrent use
	// Auxv are the machine's AT_HWCAP and the like.
	Auxv loader.Hardware
	// MaxTasks bounds the number of tasks (threads-max); 0: no limit but the range of numbers.
	MaxTasks int
	// SessionEnded, if set, is told that the leader of a session has ended: its terminal is free again. No lock is held.
	SessionEnded func(sid int)
	// Registry, if set, is told who sleeps where.
	Registry *trace.Registry
	// Inject, if set, plants a bug (package inject).
	Inject Injector
	// Trace, if set, is told about every system call after it was served.
	Trace func(t *Task, nr uint64, args [6]uint64, ret uint64, err error)
}

// Kernel is the set of all tasks and what they share.
type Kernel struct {
	Config
	handlers []Handler // of Syscalls, unless an Injector wants to see every call
	started  time.Time
	live     atomic.Int64 // tasks whose goroutine has not ended
	forks    atomic.Uint64

	futexes  futexTable
	fast     costs
	realtime atomic.Int32   // tasks with a real-time policy that do not sleep
	ipc      *ipc.Namespace // the first

	mu       sync.Mutex
	tasks    map[int]*Task
	groups   map[int]*Group
	pgroups  map[int]*ProcessGroup
	sessions map[int]*Session
	lastPID  int
	init     *Group // PID 1: has no thread, adopts orphans and reaps them at once
	idle     wait.Queue

	pidns      *PIDNamespace
	cgroup     *Cgroup // the root
	lastCgroup uint64  // guarded by mu
	spaces     Namespaces
}

// InitPID is the process that adopts orphans.
const InitPID = 1

// New makes a kernel with its init process, which is the kernel itself: it has no thread and reaps its
// children at once.
func New(c Config) *Kernel {
	k := &Kernel{
		Config: c, started: time.Now(),
		tasks: make(map[int]*Task), groups: make(map[int]*Group), pgroups: make(map[int]*ProcessGroup), sessions: make(map[int]*Session),
		lastPID: InitPID, lastCgroup: 1, pidns: &PIDNamespace{ino: firstPID},
	}
	if c.Inject == nil && c.Syscalls != nil {
		k.handlers = c.Syscalls.Handlers()
	}
	k.cgroup = newRootCgroup(k)
	k.spaces = Namespaces{
		UTS: &UTSNamespace{ino: firstUTS, host: "ringo", domain: "(none)"}, IPC: &ipcNamespace{ino: firstIPC},
		Cgroup: &CgroupNamespace{firstCgroup, nil, k.cgroup}, PIDKids: k.pidns,
	}
	k.ipc = ipc.NewNamespace(c.Memory)
	k.spaces.IPC.Namespace = k.ipc
	k.init = &Group{k: k, pid: InitPID, own: InitPID, pidns: k.pidns, cgroup: k.cgroup, actions: newActions()}
	k.groups[InitPID] = k.init
	k.mu.Lock()
	k.joinProcessGroupLocked(k.init, k.newSessionLocked(k.init), InitPID)
	k.mu.Unlock()
	return k
}

// IPC is the first IPC namespace.
func (k *Kernel) IPC() *ipc.Namespace { return k.ipc }

// Started is when the kernel began, for uptime.
func (k *Kernel) Started() time.Time { return k.started }

// Forks is the number of tasks made since boot.
func (k *Kernel) Forks() uint64 { return k.forks.Load() }

// Live is the number of tasks that exist.
func (k *Kernel) Live() int { return int(k.live.Load()) }

// Spawn describes the first task of a program started by the kernel.
type Spawn struct {
	Path       string
	Argv, Envv []string
	FS         *vfs.FSContext // taken over
	FDs        *vfs.FDTable   // taken over
	Creds      *vfs.Creds
	// Started, if set, is called with the process's number before its first instruction: to give its session a terminal.
	Started func(pid int)
}

// Spawn starts a program as a child of init, in a session of its own. Errors are those of execve(2).
// The process's Ended channel is closed when it has ended.
func (k *Kernel) Spawn(s Spawn) (*Group, error) {
	ctx, err := k.Machine.NewContext()
	if err != nil {
		s.FDs.Leave()
		s.FS.Leave()
		return nil, err
	}
	g := &Group{k: k, pidns: k.pidns, actions: newActions(), exitSignal: unix.SIGCHLD, ended: make(chan struct{})}
	g.limits.setDefaults()
	g.started = time.Now()
	t := k.newTask(g, ctx)
	t.fs, t.fds = s.FS, s.FDs
	t.creds.Store(s.Creds)
	t.ipc.Store(k.ipc.Hold())
	k.mu.Lock()
	pid, err := k.allocPIDLocked(k.pidns, nil)
	if err == nil {
		t.tid, g.pid = pid, pid
		t.own, g.own = pid, pid
	}
	k.mu.Unlock()
	spaces := k.spaces
	spaces.Mount = s.FS.Root().Mount.Namespace()
	t.enter(spaces.hold())
	if err == nil {
		err = t.exec(s.Path, vfs.AtCwd, 0, s.Argv, s.Envv)
	}
	if err != nil {
		s.FDs.Leave()
		s.FS.Leave()
		if t.space != nil {
			t.space.Release()
		}
		t.leaveIPC()
		t.namespaces.Load().drop()
		ctx.Release()
		return nil, err
	}
	k.mu.Lock()
	k.cgroup.chargeLocked(1, true)
	k.cgroup.enterLocked(g)
	g.parent = k.init
	k.init.children = append(k.init.children, g)
	k.groups[pid] = g
	k.joinProcessGroupLocked(g, k.newSessionLocked(g), pid)
	k.publishLocked(t)
	k.mu.Unlock()
	if s.Started != nil {
		s.Started(pid)
	}
	go t.run()
	return g, nil
}

// publishLocked makes a new task visible and counts it.
func (k *Kernel) publishLocked(t *Task) {
	g := t.group
	g.tasks = append(g.tasks, t)
	g.unreaped++
	if g.leader == nil {
		g.leader = t
	}
	k.tasks[t.tid] = t
	parent := 0
	if g.parent != nil {
		parent = g.parent.pid
	}
	t.slot = k.Registry.Add(t.tid, g.pid, parent, t.Comm())
	t.publishView()
	k.live.Add(1)
	k.forks.Add(1)
}

// KillAll sends SIGKILL to every process but init and returns a channel that is closed when all tasks are gone.
func (k *Kernel) KillAll() <-chan struct{} {
	k.mu.Lock()
	for _, g := range k.groups {
		if g != k.init {
			k.killGroupLocked(g, int(unix.SIGKILL))
		}
	}
	k.mu.Unlock()
	done := make(chan struct{})
	go func() {
		w := wait.NewWaiter()
		k.idle.Register(&w.Entry, wait.In)
		for k.live.Load() != 0 {
			<-w.C
		}
		k.idle.Unregister(&w.Entry)
		w.Release()
		close(done)
	}()
	return done
}

// Find returns the task with a tid (the kernel's number), or nil.
func (k *Kernel) Find(tid int) *Task {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.tasks[tid]
}

// FindGroup returns the process with a pid (the kernel's number), or nil.
func (k *Kernel) FindGroup(pid int) *Group {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.groups[pid]
}

// PIDs lists the processes, init included, with the kernel's numbers in no particular order.
func (k *Kernel) PIDs() []int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Collect(maps.Keys(k.groups))
}
