package task

import (
	"sync/atomic"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/vfs"
)

// maxPIDLevel is how deep PID namespaces nest (MAX_PID_NS_LEVEL).
const maxPIDLevel = 32

// firstNamespace is the inode number of the first namespace made at run time; those of boot are below (PROC_DYNAMIC_FIRST).
const firstNamespace = 0xf0000000

var lastNamespace atomic.Uint64

// newNamespaceIno is the number that /proc/PID/ns shows of a new namespace.
func newNamespaceIno() uint64 { return firstNamespace + lastNamespace.Add(1) }

// PIDNamespace numbers the tasks that are born in it, for themselves (pid_namespaces(7)). The kernel's own numbers, which the maps of
// Kernel are keyed by and which this package uses throughout, are those of the first namespace; numbers are translated where they come
// from user space or go there.
type PIDNamespace struct {
	parent *PIDNamespace // nil: the first, where nothing is translated
	level  int
	ino    uint64
	owner  *vfs.UserNamespace

	// Guarded by Kernel.mu.
	last    int
	globals map[int]int // number here -> kernel's number
	locals  map[int]int // kernel's number -> number here
	init    *Group      // nil: not born yet
	members int         // processes here and below that nobody has waited for
	dying   bool        // init ends: nobody can be born any more
	alone   chan struct{}
}

// newPIDNamespaceLocked answers a child of parent. The error is ENOSPC when there are too many levels.
func newPIDNamespaceLocked(parent *PIDNamespace, owner *vfs.UserNamespace) (*PIDNamespace, error) {
	if parent.level >= maxPIDLevel {
		return nil, unix.ENOSPC
	}
	if parent.dying {
		return nil, unix.EINVAL
	}
	return &PIDNamespace{
		parent: parent, level: parent.level + 1, ino: newNamespaceIno(), owner: owner, globals: make(map[int]int), locals: make(map[int]int),
	}, nil
}

// local is the kernel's number n as seen in the namespace, 0 when it is not.
func (ns *PIDNamespace) local(n int) int {
	if ns.parent == nil {
		return n
	}
	return ns.locals[n]
}

// noPID is a number that no task has.
const noPID = 1 << 30

// global is the kernel's number for n of the namespace, noPID when there is none.
func (ns *PIDNamespace) global(n int) int {
	if ns.parent == nil {
		return n
	}
	if g, ok := ns.globals[n]; ok {
		return g
	}
	return noPID
}

// within says whether ns is other or lies below it.
func (ns *PIDNamespace) within(other *PIDNamespace) bool {
	for ; ns != nil; ns = ns.parent {
		if ns == other {
			return true
		}
	}
	return false
}

// allocPIDLocked finds a number in ns and in all namespaces above it, the kernel's first. wanted are the numbers that clone3(2) asked for, in ns and
// then upwards. Errors: EAGAIN, ENOMEM when the namespace's init has ended, EEXIST, EINVAL.
func (k *Kernel) allocPIDLocked(ns *PIDNamespace, wanted []int) (int, error) {
	if k.MaxTasks > 0 && int(k.live.Load()) >= k.MaxTasks {
		return 0, unix.EAGAIN
	}
	if ns.dying {
		return 0, unix.ENOMEM
	}
	want := func(ns *PIDNamespace, up int) int {
		if up < len(wanted) {
			return wanted[up]
		}
		return 0
	}
	var levels []*PIDNamespace
	var numbers []int
	up := 0
	for ; ns.parent != nil; ns, up = ns.parent, up+1 {
		n, err := ns.freeNumber(want(ns, up))
		if err != nil {
			return 0, err
		}
		levels, numbers = append(levels, ns), append(numbers, n)
	}
	global := want(ns, up)
	switch {
	case global >= maxPID:
		return 0, unix.EINVAL
	case global != 0 && k.numberUsedLocked(global):
		return 0, unix.EEXIST
	case global == 0:
		for range maxPID {
			if k.lastPID++; k.lastPID >= maxPID {
				k.lastPID = reservedPIDs
			}
			if !k.numberUsedLocked(k.lastPID) {
				global = k.lastPID
				break
			}
		}
		if global == 0 {
			return 0, unix.EAGAIN
		}
	}
	for i, l := range levels {
		l.globals[numbers[i]], l.locals[global] = global, numbers[i]
		l.last = max(l.last, numbers[i])
		if want(l, i) == 0 {
			l.last = numbers[i]
		}
	}
	return global, nil
}

// reservedPIDs is where numbers start again after the highest (RESERVED_PIDS): lower ones are for daemons of the boot.
const reservedPIDs = 300

// freeNumber finds a number of the namespace, or checks the wanted one. Kernel.mu is held.
func (ns *PIDNamespace) freeNumber(wanted int) (int, error) {
	if wanted != 0 {
		switch {
		case wanted >= maxPID, wanted != 1 && ns.init == nil:
			return 0, unix.EINVAL
		case ns.globals[wanted] != 0:
			return 0, unix.EEXIST
		}
		return wanted, nil
	}
	n := ns.last
	for range maxPID {
		if n++; n >= maxPID {
			n = reservedPIDs
		}
		if ns.globals[n] == 0 {
			return n, nil
		}
	}
	return 0, unix.EAGAIN
}

// numberUsedLocked says whether a task, process, process group or session has the number.
func (k *Kernel) numberUsedLocked(n int) bool {
	return k.tasks[n] != nil || k.groups[n] != nil || k.pgroups[n] != nil || k.sessions[n] != nil
}

// dropNumberLocked takes the kernel's number n out of the namespaces when nobody has it any more.
func (k *Kernel) dropNumberLocked(n int, ns *PIDNamespace) {
	if ns.parent == nil || k.numberUsedLocked(n) {
		return
	}
	k.forgetNumberLocked(n, ns)
}

// forgetNumberLocked takes a number back that nobody has got yet.
func (k *Kernel) forgetNumberLocked(n int, ns *PIDNamespace) {
	for ; ns.parent != nil; ns = ns.parent {
		delete(ns.globals, ns.locals[n])
		delete(ns.locals, n)
	}
}

// bornLocked counts a new process, which is init if it is the first one.
func (ns *PIDNamespace) bornLocked(g *Group) {
	for a := ns; a.parent != nil; a = a.parent {
		a.members++
	}
	if ns.parent != nil && ns.init == nil {
		ns.init = g
	}
}

// reapedLocked undoes bornLocked.
func (ns *PIDNamespace) reapedLocked() {
	for ; ns.parent != nil; ns = ns.parent {
		if ns.members--; ns.members == 1 && ns.alone != nil {
			close(ns.alone)
			ns.alone = nil
		}
	}
}

// endNamespaceLocked kills everybody else when init's last thread leaves, and waits until they are gone (zap_pid_ns_processes). Kernel.mu is
// released meanwhile.
func (k *Kernel) endNamespaceLocked(g *Group) {
	ns := g.pidns
	ns.dying = true
	own := *g.actions
	own.table[unix.SIGCHLD] = Action{Handler: sigIgn}
	g.actions = &own
	for _, n := range ns.globals {
		if o := k.groups[n]; o != nil && o != g {
			k.killGroupLocked(o, int(unix.SIGKILL))
		}
	}
	for i := 0; i < len(g.children); {
		if c := g.children[i]; c.zombie {
			k.reapLocked(c)
			continue
		}
		i++
	}
	if ns.members <= 1 {
		return
	}
	alone := make(chan struct{})
	ns.alone = alone
	k.mu.Unlock()
	<-alone
	k.mu.Lock()
}

// reaperLocked is the process that adopts the orphans of g.
func (k *Kernel) reaperLocked(g *Group) *Group {
	if i := g.pidns.init; i != nil && i != g && !i.zombie {
		return i
	}
	return k.init
}

// unkillable says whether g is the init of a PID namespace: signals without a handler do nothing to it (SIGNAL_UNKILLABLE).
func (g *Group) unkillable() bool { return g.pidns.init == g }

// Level is how deep the namespace is, 0 for the first; Owner the user namespace that governs it.
func (ns *PIDNamespace) Level() int { return ns.level }

// Owner is the user namespace that governs it.
func (ns *PIDNamespace) Owner() *vfs.UserNamespace { return ns.owner }

// PIDNamespace is the namespace that the process was born in.
func (g *Group) PIDNamespace() *PIDNamespace { return g.pidns }

// Local is the kernel's number n as the task sees it, 0 when it is outside the task's PID namespace.
func (t *Task) Local(n int) int { return t.k.InNamespace(t.group.pidns, n) }

// InNamespace is the kernel's number n as seen in ns: 0 when it is not.
func (k *Kernel) InNamespace(ns *PIDNamespace, n int) int {
	if ns.parent == nil {
		return n
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return ns.local(n)
}

// Global is the kernel's number for a task, process, process group or session that the task calls n; a number that none has when it knows none of
// that name. Zero and negative numbers, which mean other things, stay.
func (t *Task) Global(n int) int { return t.k.FromNamespace(t.group.pidns, n) }

// FromNamespace is the kernel's number for n of ns.
func (k *Kernel) FromNamespace(ns *PIDNamespace, n int) int {
	if n <= 0 || ns.parent == nil {
		return n
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return ns.global(n)
}

// FirstPIDNamespace is the one that the kernel's own numbers are of.
func (k *Kernel) FirstPIDNamespace() *PIDNamespace { return k.pidns }

// Processes lists the processes of a PID namespace with their numbers there.
func (k *Kernel) Processes(ns *PIDNamespace) map[int]*Group {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := make(map[int]*Group)
	for n, g := range k.groups {
		if l := ns.local(n); l != 0 {
			out[l] = g
		}
	}
	return out
}

// Process is the process that ns calls n, or nil.
func (k *Kernel) Process(ns *PIDNamespace, n int) *Group {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.groups[ns.global(n)]
}

// LastNumber is the number that the namespace gave out last.
func (k *Kernel) LastNumber(ns *PIDNamespace) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	if ns.parent == nil {
		return k.lastPID
	}
	return ns.last
}
